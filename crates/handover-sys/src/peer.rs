//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// A process as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id in our pid namespace; 0 when the peer lives in one we cannot see.
    pub pid: u32,
    /// Effective user id, mapped into our user namespace.
    pub uid: u32,
    /// Effective group id, mapped into our user namespace.
    pub gid: u32,
}

impl From<libc::ucred> for Credentials {
    fn from(raw: libc::ucred) -> Self {
        Self {
            pid: u32::try_from(raw.pid).unwrap_or(0),
            uid: raw.uid,
            gid: raw.gid,
        }
    }
}

/// The process that called `connect` (or `listen`, seen from the client; or `socketpair`), by
/// `SO_PEERCRED` (unix(7)). It may have ended or passed the socket on since.
///
/// # Errors
/// `ENOTSOCK` when it is no socket, `ENODATA` or another error of the kernel when it is not a
/// connected Unix stream or seqpacket socket.
pub fn credentials(socket: impl AsFd) -> io::Result<Credentials> {
    let mut raw = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // Not through rustix: its type says that the pid is never 0, and it is across pid namespaces.
    // SAFETY: the pointer and the length describe `raw`, which lives across the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut raw).cast(),
            &mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // An unconnected socket answers with pid 0 and the ids -1 instead of an error.
    if raw.pid == 0 && raw.uid == u32::MAX {
        return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
    }
    Ok(raw.into())
}
