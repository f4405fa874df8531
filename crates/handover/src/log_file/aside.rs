//! The name a log file gets when its writer is replaced.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Names tried when the first ones are taken. Each names a second and a process, so one is free at
/// once unless somebody puts files there on purpose.
const TRIES: u32 = 100;

/// The file itself: behind a symbolic link it is the file that moves, and the link leads to the next
/// one then.
///
/// # Errors
/// There is none.
pub(crate) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    std::fs::canonicalize(path)
}

/// Names for the file at `path`: `PATH.TIME`, in UTC, and if it is known which process writes to it
/// `PATH.TIME.PID`. Not numbers from 1 on, which are logrotate's.
pub(crate) fn names(path: &Path, pid: Option<u32>) -> impl Iterator<Item = PathBuf> {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let time: String = time.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    let stem: OsString = path.into();
    (0..TRIES).map(move |n| {
        let mut name = stem.clone();
        name.push(format!(".{time}"));
        if let Some(pid) = pid {
            name.push(format!(".{pid}"));
        }
        if n > 0 {
            name.push(format!("-{n}"));
        }
        name.into()
    })
}

/// Renames the file at `real` to the first of its [`names`] that is free, and gives that. `before` is
/// told each one before it is tried.
///
/// # Errors
/// As [`rename`].
pub(crate) fn put(
    real: &Path,
    pid: Option<u32>,
    mut before: impl FnMut(&Path),
) -> io::Result<PathBuf> {
    for name in names(real, pid) {
        before(&name);
        match rename(real, &name) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Renames, and never replaces a file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or the kernel's. Nothing has changed.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A filesystem without the flag (NFS): a look beforehand has to do.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("app.log");
        let mut made = Vec::new();
        for n in 0..3 {
            std::fs::write(&log, n.to_string()).expect("written");
            let renamed = names(&log, Some(7)).find(|name| rename(&log, name).is_ok());
            made.push(renamed.expect("a name is free"));
        }
        let read = |path: &PathBuf| std::fs::read_to_string(path).expect("there");
        assert_eq!(made.iter().map(read).collect::<Vec<_>>(), ["0", "1", "2"]);
    }
}
