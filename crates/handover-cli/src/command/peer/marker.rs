//! What a container remembers in its own file system once it has handed over: a restart policy may
//! revive it, and then it must not retire its successor.

use handover_proto::container::PeerId;
use handover_proto::container::event::Successor;
use handover_proto::container::order::Order;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The name of the file in the service's runtime directory.
const NAME: &str = "retired.json";

/// More than one has.
const MAX_BYTES: u64 = 4096;

/// An instance of this container that let go for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    /// Its name.
    pub(super) peer: PeerId,
    /// Where it stood when it last served.
    pub(super) order: Order,
    /// For whom it went.
    pub(super) by: Successor,
}

/// Where a container keeps its marker.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
}

impl Place {
    /// In the runtime directory of a service.
    pub(super) fn new(directory: &Path) -> Self {
        let path = directory.join(NAME);
        Self { path }
    }

    /// What is there. One that cannot be understood is told of and counts as none: a container that
    /// serves once too often is retired again, one that never serves helps nobody.
    pub(super) fn read(&self) -> Result<Option<Marker>, String> {
        let mut text = String::new();
        let read = fs::File::open(&self.path)
            .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        let unusable = |error: &dyn std::fmt::Display| {
            format!(
                "{} is not understood ({error}) and has no effect",
                self.path.display()
            )
        };
        match read {
            Ok(_) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| unusable(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self, marker: &Marker) -> Result<(), String> {
        let failed = |error: io::Error| {
            format!(
                "{} cannot be written ({error}): if this container is started again, it retires \
                 its successor",
                self.path.display()
            )
        };
        let text = serde_json::to_string(marker).map_err(|error| failed(error.into()))?;
        let beside = self.path.with_extension("new");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &self.path))
            .map_err(failed)
    }

    /// This container serves again.
    pub(super) fn remove(&self) {
        // It is not there, or stays: then the next start asks who serves, and starts after all.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::container::BootId;

    fn marker() -> Marker {
        let order = Order {
            boot: BootId([1; 16]),
            started_ns: 5,
            entry: None,
        };
        Marker {
            peer: PeerId([2; 16]),
            order,
            by: Successor::Peer {
                peer: PeerId([3; 16]),
                order,
            },
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_gone_when_removed() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        assert_eq!(place.read(), Ok(None));
        place.write(&marker()).unwrap();
        assert_eq!(place.read(), Ok(Some(marker())));
        place.remove();
        assert_eq!(place.read(), Ok(None));
    }

    #[test]
    fn nonsense_has_no_effect_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path());
        fs::write(dir.path().join(NAME), "{").unwrap();
        assert!(place.read().unwrap_err().contains("has no effect"));
        let nowhere = Place::new(&dir.path().join("missing"));
        assert!(nowhere.write(&marker()).unwrap_err().contains("retires"));
    }
}
