//! A control socket that only its owner can reach, at every moment.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::placement;

/// The longest path of a Unix socket: 108 bytes of `sun_path` (unix(7)) with the closing NUL.
pub const MAX_PATH: usize = 107;

/// Why a socket was not bound. Whatever was at the path is unchanged, and nothing is left beside
/// it.
#[derive(Debug, Error)]
pub enum BindError {
    /// The path does not fit into a socket address.
    #[error(
        "the socket path {} has {found} bytes, the kernel allows {limit}; choose a shorter one",
        path.display()
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// [`MAX_PATH`].
        limit: usize,
        /// Its length.
        found: usize,
    },
    /// The directory does not exist.
    #[error("there is no directory {} for the socket {}; create it", directory.display(), path.display())]
    NoDirectory {
        /// The path of the socket.
        path: PathBuf,
        /// The directory that is missing.
        directory: PathBuf,
    },
    /// A living process serves this socket.
    #[error(
        "{} is served by {}; stop it first or choose another path",
        path.display(),
        .pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The path.
        path: PathBuf,
        /// Who called `listen` on it, where the kernel says so.
        pid: Option<u32>,
    },
    /// Something that is no socket is in the way.
    #[error("{} is {found}, not a socket; remove it or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Another process holds the lock of the directory.
    #[error(
        "the directory of {} is locked by another process; \
         try again, or choose a directory of your own",
        path.display()
    )]
    Busy {
        /// The path of the socket.
        path: PathBuf,
    },
    /// The system refused a step.
    #[error("{doing} {} failed: {source}", path.display())]
    Io {
        /// The path of the socket.
        path: PathBuf,
        /// The step.
        doing: &'static str,
        /// The reason.
        source: io::Error,
    },
}

/// Device and inode of what is at a path, links not followed; nothing if it cannot be looked at. Who
/// bound a socket there can tell by it, before removing the path, that it is not a successor's.
#[must_use]
pub fn file_at(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Listens on a Unix stream socket of mode 0600 at `path`.
///
/// The socket is bound in a private directory beside the path and renamed into place when it is
/// listening, so there is no moment at which others could connect, nor one at which a connection
/// would be refused. A stale socket (nobody listens) is replaced; a live one and anything that is
/// no socket are left alone. Two processes that try at once are put in order by a lock on the
/// directory; this can block for up to two seconds.
///
/// The listener's own `local_addr` is the name it was bound under, not `path`. The file stays when
/// the listener is dropped; remove it, or leave it to be replaced.
///
/// # Errors
/// See [`BindError`].
pub fn bind_private(path: impl AsRef<Path>) -> Result<UnixListener, BindError> {
    placement::place(path.as_ref(), |place| UnixListener::bind(place))
}
