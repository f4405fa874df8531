//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use crate::pidfd::Pidfd;

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

impl Credentials {
    /// Whether it is of our own effective user, or root: what it asks for it could do itself.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw() || self.uid == 0
    }
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

/// `SO_PEERPIDFD` (Linux 6.5, `asm-generic/socket.h`).
const SO_PEERPIDFD: libc::c_int = 77;

/// The process that called `connect`, held so that its pid may be reused by others: by
/// `SO_PEERPIDFD`. `None` when it lives in a pid namespace we cannot see.
///
/// Before Linux 6.5 it is opened by its pid. Whoever asks while the peer has not closed the
/// connection gets the right one there too, unless the peer has passed the connection on and ended.
///
/// # Errors
/// As [`credentials`]; `ESRCH` when it has ended, `EMFILE` when no descriptor is free.
pub fn process(socket: impl AsFd) -> io::Result<Option<Pidfd>> {
    let socket = socket.as_fd();
    let pid = credentials(socket)?.pid;
    if pid == 0 {
        return Ok(None);
    }
    let mut raw: libc::c_int = -1;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `raw`, which lives across the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut raw).cast(),
            &mut length,
        )
    };
    if result == 0 {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it. It
        // is close-on-exec, as every pidfd is.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        return Ok(Some(Pidfd::of_peer(fd, pid)));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Pidfd::open(pid).map(Some),
        error => Err(error),
    }
}
