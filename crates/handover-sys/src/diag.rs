//! Who answers on a port that several processes share.

use std::fs;
use std::io;
use std::net::SocketAddr;

pub use crate::process::{descendants, process_group_members};

/// The inode of the *server's* end of a TCP connection on this machine, asked from the client's
/// end: `local` is the client's own address, `remote` the server's.
///
/// `None` when nobody has accepted the connection yet (ask again), or when it is gone. Both ends
/// must be in the network namespace of the caller. IPv4 through a dual-stack listener works with
/// either spelling of the addresses. Blocks for one question to the kernel.
///
/// # Errors
/// `InvalidInput` when the families differ; the kernel's when it was built without `inet_diag` or
/// a filter forbids netlink.
pub fn accepted_inode(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u64>> {
    crate::netlink::inode_of(remote, local)
}

/// Whether a process has the socket with this inode open, by `/proc/<pid>/fd`.
///
/// # Errors
/// `NotFound` when there is no such process, `PermissionDenied` when it is another user's.
pub fn holds_inode(pid: u32, inode: u64) -> io::Result<bool> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A descriptor closed between listing and reading is not held.
        let link = entry.and_then(|entry| fs::read_link(entry.path()));
        if link.is_ok_and(|link| link.as_os_str() == wanted.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}
