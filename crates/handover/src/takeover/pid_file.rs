//! The file that says which process serves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Names a process, in one step: readers find the old content or the new one. What cannot be
    /// written is told and no reason to stop.
    pub(crate) fn name(&self, pid: u32) {
        if let Err(error) = write(&self.0, pid) {
            tracing::warn!(path = %self.0.display(), %error, "the pid file could not be written");
        }
    }

    /// Removes it if it still names this process.
    pub(crate) fn remove(&self) {
        let own = std::process::id();
        let named = fs::read_to_string(&self.0).ok();
        if named.and_then(|text| text.trim().parse().ok()) == Some(own) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn write(path: &Path, pid: u32) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_string_lossy()
        .into_owned();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = fs::write(&beside, format!("{pid}\n")).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_removed_only_by_the_process_it_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pid");
        let file = PidFile::new(path.clone());
        file.name(1);
        assert_eq!(fs::read_to_string(&path).expect("written"), "1\n");
        file.remove();
        assert!(path.exists(), "it names somebody else");
        file.name(std::process::id());
        file.remove();
        assert!(!path.exists());
        let left = fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!(left, 0, "nothing is left beside it");
    }
}
