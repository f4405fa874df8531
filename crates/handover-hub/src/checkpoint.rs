//! States kept outside of the cluster, for when all nodes that have one are gone.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::identity::{Epoch, ProcessId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::process::Handed;

/// Where checkpoints are kept. Its methods may block: they run on threads for that.
pub trait Store: Send + Sync + 'static {
    /// Keeps the state of a process in place of an older one. One of a lower epoch than the one
    /// kept comes from a host that has been replaced, and is dropped.
    ///
    /// # Errors
    ///
    /// Of the medium; the older one is kept.
    fn save(&self, process: &ProcessId, epoch: Epoch, state: &Handed) -> io::Result<()>;

    /// The state that is kept of a process.
    ///
    /// # Errors
    ///
    /// Of the medium, or what is kept cannot be read.
    fn load(&self, process: &ProcessId) -> io::Result<Option<Handed>>;

    /// Forgets a process.
    ///
    /// # Errors
    ///
    /// Of the medium.
    fn remove(&self, process: &ProcessId) -> io::Result<()>;
}

/// Checkpoints in a directory, one file each. All nodes that may run a process must share it.
///
/// A file is written beside its place, synchronised, and renamed: a crash leaves the older one.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct File {
    process: ProcessId,
    epoch: Epoch,
    schema: u32,
    state: Vec<u8>,
}

impl Directory {
    /// In this directory, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// An id may have characters that no file name can have.
    fn place(&self, process: &ProcessId) -> PathBuf {
        let digest = Sha256::digest(process.as_str().as_bytes());
        let mut name = String::with_capacity(64);
        for byte in digest {
            name.push_str(&format!("{byte:02x}"));
        }
        self.path.join(name)
    }

    fn read(&self, place: &Path, process: &ProcessId) -> io::Result<Option<File>> {
        let bytes = match std::fs::read(place) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let file: File = postcard::from_bytes(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((file.process == *process).then_some(file))
    }
}

impl Store for Directory {
    fn save(&self, process: &ProcessId, epoch: Epoch, state: &Handed) -> io::Result<()> {
        let place = self.place(process);
        if let Ok(Some(kept)) = self.read(&place, process)
            && kept.epoch > epoch
        {
            return Ok(());
        }
        let file = File {
            process: process.clone(),
            epoch,
            schema: state.schema(),
            state: state.bytes().to_vec(),
        };
        let bytes = postcard::to_allocvec(&file)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Two hosts may write at once for a moment: each beside its own epoch.
        let beside = place.with_extension(format!("{epoch}.new"));
        let mut written = std::fs::File::create(&beside)?;
        written.write_all(&bytes)?;
        written.sync_all()?;
        std::fs::rename(&beside, &place)
    }

    fn load(&self, process: &ProcessId) -> io::Result<Option<Handed>> {
        let file = self.read(&self.place(process), process)?;
        Ok(file.map(|file| Handed::new(file.schema, file.state)))
    }

    fn remove(&self, process: &ProcessId) -> io::Result<()> {
        match std::fs::remove_file(self.place(process)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A store and how often it is written.
pub(crate) struct Checkpoints {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) every: Duration,
}

impl Checkpoints {
    pub(crate) async fn save(
        &self,
        process: &ProcessId,
        epoch: Epoch,
        state: Handed,
    ) -> io::Result<()> {
        let (store, process) = (Arc::clone(&self.store), process.clone());
        blocking(move || store.save(&process, epoch, &state)).await
    }

    pub(crate) async fn load(&self, process: &ProcessId) -> io::Result<Option<Handed>> {
        let (store, process) = (Arc::clone(&self.store), process.clone());
        blocking(move || store.load(&process)).await
    }

    pub(crate) async fn remove(&self, process: &ProcessId) -> io::Result<()> {
        let (store, process) = (Arc::clone(&self.store), process.clone());
        blocking(move || store.remove(&process)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => Err(io::Error::other(failed)),
    }
}
