//! The handover-complete file: by it the platform learns that the old container may be stopped.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where balena's supervisor looks, unless it says otherwise.
const USUAL: &str = "/tmp/balena/handover-complete";

/// Where its early versions look.
const EARLY: &str = "/tmp/resin/resin-kill-me";

/// The file that ends a container under balena's `hand-over` update strategy, once it exists.
///
/// Its path: the one of `BALENA_SERVICE_HANDOVER_COMPLETE_PATH`, else of
/// `RESIN_SERVICE_KILL_ME_PATH`, else `/tmp/balena/handover-complete`, or
/// `/tmp/resin/resin-kill-me` where only that directory exists (handover-lib 0.0.10 and 0.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteFile {
    path: PathBuf,
}

/// The file could not be written. The old container stays until the platform's time-out
/// (`HANDOVER_TIMEOUT`) is over; the successor serves all the same.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} could not be written: {source}; the successor serves, but the platform stops this container \
     only after its hand-over timeout",
    path.display()
)]
pub struct CompleteError {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub source: io::Error,
}

impl CompleteFile {
    /// The file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file that the platform named (see
    /// [`Environment::complete`](super::Environment::complete)), else the usual one.
    pub fn named(path: Option<PathBuf>) -> Self {
        Self::new(path.unwrap_or_else(|| usual(Path::is_dir)))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates it, and its directory if need be; once it returns the platform may kill every
    /// process of this container. One that is there already is written again.
    ///
    /// # Errors
    /// [`CompleteError`].
    pub fn write(&self) -> Result<(), CompleteError> {
        self.try_write().map_err(|source| CompleteError {
            path: self.path.clone(),
            source,
        })
    }

    fn try_write(&self) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&self.path)?;
        // Any content will do; this one tells a reader what it is.
        file.write_all(b"handed over\n")
    }
}

fn usual(is_dir: impl Fn(&Path) -> bool) -> PathBuf {
    let has_directory = |path: &str| Path::new(path).parent().is_some_and(&is_dir);
    match (has_directory(USUAL), has_directory(EARLY)) {
        (false, true) => EARLY.into(),
        (true | false, true | false) => USUAL.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_early_path_is_taken_where_only_its_directory_exists() {
        let with = |directories: &'static [&'static str]| {
            usual(|path| directories.iter().any(|one| Path::new(one) == path))
        };
        assert_eq!(with(&[]), Path::new(USUAL));
        assert_eq!(with(&["/tmp/balena"]), Path::new(USUAL));
        assert_eq!(with(&["/tmp/balena", "/tmp/resin"]), Path::new(USUAL));
        assert_eq!(with(&["/tmp/resin"]), Path::new(EARLY));
    }
}
