//! Fixture programs as files: copies of one executable, each with its arguments written behind its
//! end, where a loader does not look. So a file *is* a version, and replacing it is an upgrade.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Stands between the executable and the arguments written behind it. Built at run time, so that
/// it occurs in no executable.
fn mark() -> Vec<u8> {
    ["\n#", "fixture", "-arguments:"].concat().into_bytes()
}

/// Longest text of arguments that is looked for.
const TAIL: u64 = 4096;

/// A file for a service to run.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    _directory: TempDir,
}

impl Program {
    /// The fixture `executable` that behaves as `arguments` say, in a directory of its own.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn new(executable: &str, arguments: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("server");
        write(&path, executable, arguments);
        Self {
            path,
            _directory: directory,
        }
    }

    /// Any file, executable or not.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn raw(content: &[u8], mode: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("server");
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode set");
        Self {
            path,
            _directory: directory,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts another version in its place, as a deploy does: written beside, then renamed.
    pub fn replace(&self, executable: &str, arguments: &str) {
        let beside = self.path.with_extension("new");
        write(&beside, executable, arguments);
        fs::rename(&beside, &self.path).expect("renamed");
    }
}

/// In a process of its own: whatever another thread starts meanwhile would hold the file open for
/// writing, and it could not be run.
fn write(path: &Path, executable: &str, arguments: &str) {
    let tail = [mark(), arguments.as_bytes().to_vec()].concat();
    let status = std::process::Command::new("sh")
        .args(["-c", r#"cp "$1" "$2" && printf %s "$3" >> "$2""#, "write"])
        .arg(executable)
        .arg(path)
        .arg(std::ffi::OsStr::from_bytes(&tail))
        .status();
    let status = status.expect("sh is there");
    assert!(status.success(), "{executable}: {status}");
}

/// The arguments written behind the running executable, else those of the command line.
#[must_use]
pub fn own_arguments() -> Vec<String> {
    behind_the_end().unwrap_or_else(|| std::env::args().skip(1).collect())
}

fn behind_the_end() -> Option<Vec<String>> {
    use std::io::{Read, Seek, SeekFrom};
    // The very file that runs, whatever stands at its path by now.
    let mut file = File::open("/proc/self/exe").ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let mark = mark();
    let at = tail
        .windows(mark.len())
        .rposition(|window| window == mark)?;
    let text = String::from_utf8_lossy(&tail[at + mark.len()..]).into_owned();
    Some(text.split_whitespace().map(str::to_owned).collect())
}
