//! Programs as files: which one is it, and keeping it although the path is replaced.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// What tells one build of a program from the next at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The device the file is on.
    pub dev: u64,
    /// Its inode there.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// When its content last changed.
    pub mtime: SystemTime,
}

impl Identity {
    /// The file that `path` names now, links followed.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied` and what else `stat` says.
    pub fn of(path: impl AsRef<Path>) -> io::Result<Self> {
        Self::from_metadata(&fs::metadata(path)?)
    }

    /// The file behind a descriptor, such as one of [`pin`].
    ///
    /// # Errors
    /// No descriptor is free for the look.
    pub fn of_descriptor(fd: impl AsFd) -> io::Result<Self> {
        Self::from_metadata(&File::from(fd.as_fd().try_clone_to_owned()?).metadata()?)
    }

    fn from_metadata(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: metadata.modified()?,
        })
    }
}

/// Opens a program so that exactly this file can be started later
/// ([`Spawn::executable`](crate::spawn::Spawn::executable)), even when the path has been replaced
/// or removed by then. Replacing means renaming a new file over it, as package managers and
/// `install` do; content written *into* the same file changes the pinned one too.
///
/// The descriptor is close-on-exec and of kind `O_PATH`: it can be started and identified, not
/// read, and it does not block writers.
///
/// # Errors
/// What `open` says, or `InvalidInput` when it is not a regular file.
pub fn pin(path: impl AsRef<Path>) -> io::Result<OwnedFd> {
    let path = path.as_ref();
    let fd = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let file = File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is not a regular file and cannot be a program",
                path.display()
            ),
        ));
    }
    Ok(file.into())
}
