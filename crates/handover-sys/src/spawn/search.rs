//! Finding a program by name, as a shell does.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::SpawnError;

/// Where to look without a `PATH`: what the C library's `execvp` uses (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The absolute path of a program.
///
/// A name with a slash is a path and only checked; any other is looked for in the directories of
/// `path_var` (the value of `PATH`; without it `/bin:/usr/bin`), where an empty entry means the
/// current directory. The first file that may be executed is the answer; links are not resolved.
///
/// # Errors
/// [`SpawnError::NotFound`] for a path, [`SpawnError::NotOnPath`] for a name, and
/// [`SpawnError::NotExecutable`] when a file of that name was found but none may be executed.
pub fn find_program(name: &OsStr, path_var: Option<&OsStr>) -> Result<PathBuf, SpawnError> {
    if name.as_bytes().contains(&b'/') {
        let path = Path::new(name);
        return match look(path) {
            Look::Executable => Ok(absolute(path)),
            Look::Unusable => Err(not_executable(path)),
            Look::Missing => Err(SpawnError::NotFound {
                path: path.to_owned(),
            }),
        };
    }
    let searched = path_var.unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut unusable = None;
    // An empty name would find the directories themselves.
    let directories = std::env::split_paths(searched).filter(|_| !name.is_empty());
    for directory in directories {
        let candidate = if directory.as_os_str().is_empty() {
            Path::new(".").join(name)
        } else {
            directory.join(name)
        };
        match look(&candidate) {
            Look::Executable => return Ok(absolute(&candidate)),
            Look::Unusable => unusable = unusable.or(Some(candidate)),
            Look::Missing => {}
        }
    }
    Err(match unusable {
        Some(path) => not_executable(&path),
        None => SpawnError::NotOnPath {
            name: name.to_string_lossy().into_owned(),
            searched: searched.to_string_lossy().into_owned(),
        },
    })
}

enum Look {
    Executable,
    Unusable,
    Missing,
}

fn look(path: &Path) -> Look {
    match fs::metadata(path) {
        Err(_) => Look::Missing,
        Ok(found) if found.is_file() && access(path, Access::EXEC_OK).is_ok() => Look::Executable,
        Ok(_) => Look::Unusable,
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn not_executable(path: &Path) -> SpawnError {
    SpawnError::NotExecutable {
        path: path.to_owned(),
        found: why_not_executable(path),
    }
}

/// What stands against executing a file, for a report.
pub(super) fn why_not_executable(path: &Path) -> String {
    match fs::metadata(path) {
        Err(error) => error.to_string(),
        Ok(found) if found.is_dir() => "it is a directory".to_owned(),
        Ok(found) if !found.is_file() => "it is not a regular file".to_owned(),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            format!("its mode is {:04o}", found.permissions().mode() & 0o7777)
        }
        Ok(_) => "permission denied for this user, its interpreter, or its mount".to_owned(),
    }
}
