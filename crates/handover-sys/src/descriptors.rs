//! Sockets of another process: which it holds, who else holds them, and a duplicate of one.
//!
//! A socket is named by its inode, never by the number of a descriptor: the number may belong to
//! something else a moment later, the inode may not while anybody holds the socket.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

use crate::pidfd::Pidfd;

/// How often a duplicate is tried again because the number meant something else by then. Each time
/// is a lost race against the process's own `close`; that many in a row are no race any more.
const RACES: usize = 8;

/// A descriptor of another process that is a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldSocket {
    /// The socket's inode.
    pub inode: u64,
    /// The number that the process has for it.
    pub number: RawFd,
}

/// Why a socket could not be duplicated. Nothing has changed in any case.
#[derive(Debug, Error)]
pub enum DuplicateError {
    /// The process does not have this socket, or no longer.
    #[error("process {pid} does not hold socket {inode}; look again at what it holds")]
    NotHeld {
        /// The process.
        pid: u32,
        /// The socket.
        inode: u64,
    },
    /// The kernel has no pidfd_getfd(2).
    #[error("this kernel cannot duplicate descriptors of other processes; Linux 5.6 and later can")]
    Unsupported,
    /// The kernel, a seccomp filter or a security module forbids it.
    #[error(
        "taking descriptors out of process {pid} is not permitted; it needs the same user and a \
         process that may be traced, or CAP_SYS_PTRACE, and no filter or ptrace_scope against it"
    )]
    NotPermitted {
        /// The process.
        pid: u32,
    },
    /// The process has ended.
    #[error("process {pid} has ended")]
    Gone {
        /// The process.
        pid: u32,
    },
    /// Anything else, such as no free descriptor here.
    #[error("a socket of process {pid} could not be duplicated: {source}")]
    Io {
        /// The process.
        pid: u32,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// All sockets that a process has open, by rising inode. One that is held under two numbers is
/// there twice. What it opens or closes meanwhile may be missing or present.
///
/// # Errors
/// `NotFound` when there is no such process, `PermissionDenied` when it may not be looked into.
pub fn sockets(pid: u32) -> io::Result<Vec<HeldSocket>> {
    let mut held: Vec<_> = each_socket(pid)?.collect();
    held.sort_unstable();
    Ok(held)
}

/// As [`sockets`], one by one and in the order in which the kernel lists descriptors, for whoever
/// need not see all of them.
///
/// # Errors
/// As [`sockets`].
pub fn each_socket(pid: u32) -> io::Result<impl Iterator<Item = HeldSocket>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    // A descriptor closed between listing and reading is not held.
    Ok(entries.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some(HeldSocket {
            inode: socket_inode(target.as_os_str().as_bytes())?,
            number: entry.file_name().to_str()?.parse().ok()?,
        })
    }))
}

/// `socket:[123]`, as `/proc` shows one (proc_pid_fd(5)).
fn socket_inode(target: &[u8]) -> Option<u64> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Duplicates the socket with this inode out of a process. The duplicate is close-on-exec and
/// refers to the same open socket, queue and all; what is done to it, except closing, is done to
/// the process's own.
///
/// # Errors
/// [`DuplicateError`]; nothing has changed.
pub fn duplicate_socket(process: &Pidfd, inode: u64) -> Result<OwnedFd, DuplicateError> {
    let pid = process.pid();
    let failed = |error: io::Error| refused(pid, error);
    for _ in 0..RACES {
        let held = sockets(pid).map_err(failed)?;
        let Some(found) = held.iter().find(|held| held.inode == inode) else {
            return Err(DuplicateError::NotHeld { pid, inode });
        };
        let duplicate = match process.duplicate(found.number) {
            Ok(duplicate) => duplicate,
            // Closed since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => continue,
            Err(error) => return Err(failed(error)),
        };
        let stat = rustix::fs::fstat(&duplicate).map_err(|error| failed(error.into()))?;
        // All sockets are on one filesystem, so the inode alone names one; any other file of that
        // number is no socket.
        let socket = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket();
        if socket && stat.st_ino == inode {
            return Ok(duplicate);
        }
    }
    Err(DuplicateError::NotHeld { pid, inode })
}

fn refused(pid: u32, error: io::Error) -> DuplicateError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => DuplicateError::Unsupported,
        Some(libc::EPERM | libc::EACCES) => DuplicateError::NotPermitted { pid },
        Some(libc::ESRCH | libc::ENOENT) => DuplicateError::Gone { pid },
        _ => DuplicateError::Io { pid, source: error },
    }
}

/// Who holds certain sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Processes with the sockets they hold, of those that were asked for.
    pub holding: BTreeMap<u32, BTreeSet<u64>>,
    /// Processes that this user may not look into: they may hold some as well.
    pub hidden: BTreeSet<u32>,
}

/// Every process on this machine that holds one of these sockets, as far as `/proc` shows it to
/// this user.
///
/// # Errors
/// Only when `/proc` cannot be read at all.
pub fn holders(inodes: &BTreeSet<u64>) -> io::Result<Holders> {
    let mut found = Holders::default();
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        match sockets(pid) {
            Ok(held) => {
                let of_these: BTreeSet<u64> = held
                    .into_iter()
                    .map(|held| held.inode)
                    .filter(|inode| inodes.contains(inode))
                    .collect();
                if !of_these.is_empty() {
                    found.holding.insert(pid, of_these);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.hidden.insert(pid);
            }
            // It has ended.
            Err(_) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::socket_inode;

    #[test]
    fn only_sockets_have_the_inode_of_one() {
        assert_eq!(socket_inode(b"socket:[4242]"), Some(4242));
        for other in [
            &b"pipe:[4242]"[..],
            b"socket:[]",
            b"socket:[42",
            b"/tmp/socket:[42]",
        ] {
            assert_eq!(socket_inode(other), None);
        }
    }
}
