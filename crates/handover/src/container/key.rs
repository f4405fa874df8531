//! The secret of a service, in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use handover_proto::container::envelope::MAX_KEY;
pub use handover_proto::container::envelope::{Key, KeyError};

/// Why there is no key. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read, or not be made.
    #[error("the key file {} cannot be used: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// What it holds is no key.
    #[error("the key file {}: {source}; `openssl rand -hex 32` makes one", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: KeyError,
    },
}

/// Reads a key: all bytes of the file, without the white space at its end.
///
/// # Errors
/// It cannot be read, or is too short or too long for a key.
pub fn read_key(path: impl AsRef<Path>) -> Result<Key, KeyFileError> {
    let path = path.as_ref();
    let failed = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // A byte more than the longest with a line end, so that a longer one shows.
    let limit = MAX_KEY as u64 + 3;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Key::new(bytes.trim_ascii_end()).map_err(|source| KeyFileError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Name of the key that a volume makes for its services.
pub(super) const NAME: &str = "key";

/// Bytes of a key that is made; the file has them as hexadecimal digits.
const MADE: usize = 32;

/// The key in a directory of a volume, made by whoever comes first. Call it under the lock of the
/// directory.
pub(super) fn read_or_make(directory: &Path) -> Result<Key, KeyFileError> {
    let path = directory.join(NAME);
    match read_key(&path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(directory, &path).map_err(|source| KeyFileError::Io {
                path: path.clone(),
                source,
            })?;
            read_key(&path)
        }
        other => other,
    }
}

fn make(directory: &Path, path: &Path) -> io::Result<()> {
    let beside = directory.join("key.new");
    let mut text = String::with_capacity(2 * MADE + 1);
    for byte in super::random::bytes::<MADE>()? {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    File::open(directory)?.sync_all()
}
