//! Who answers on a port that several processes share, and which sockets there are.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::descriptors::each_socket;
pub use crate::netlink::InetSocket;
pub use crate::process::{descendants, process_group_members};

/// States of `net/tcp_states.h`.
const TCP_TIME_WAIT: u8 = 6;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;
const TCP_NEW_SYN_RECV: u8 = 12;

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
    Ok(each_socket(pid)?.any(|held| held.inode == inode))
}

/// Every TCP socket that listens in the caller's network namespace.
///
/// # Errors
/// The kernel's when it was built without `inet_diag` or a filter forbids netlink.
pub fn tcp_listeners() -> io::Result<Vec<InetSocket>> {
    crate::netlink::sockets(libc::IPPROTO_TCP, 1 << TCP_LISTEN)
}

/// Every TCP connection in the caller's network namespace that some process holds: accepted, or
/// connected to somewhere. What waits in a queue, and what its process has closed, is left out.
/// The kernel goes through its whole table, which takes milliseconds for tens of thousands.
///
/// # Errors
/// As [`tcp_listeners`].
pub fn tcp_connections() -> io::Result<Vec<InetSocket>> {
    let others = [TCP_TIME_WAIT, TCP_CLOSE, TCP_LISTEN, TCP_NEW_SYN_RECV];
    let states = others
        .iter()
        .fold(u32::MAX, |all, state| all & !(1 << state));
    let mut found = crate::netlink::sockets(libc::IPPROTO_TCP, states)?;
    found.retain(|socket| socket.inode != 0);
    Ok(found)
}

/// A Unix stream socket as `/proc/net/unix` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// The path or `@name` it was bound to. A connection that was accepted has its listener's.
    pub address: String,
    /// Its inode.
    pub inode: u64,
    /// Whether it listens; else it is connected.
    pub listening: bool,
}

/// Every Unix stream socket with an address that listens, or was accepted by one that does, and
/// that some process holds.
///
/// # Errors
/// When `/proc/net/unix` cannot be read.
pub fn unix_sockets() -> io::Result<Vec<UnixSocket>> {
    unix_table("/proc/net/unix".as_ref())
}

/// [`unix_sockets`] of the network namespace of another process.
///
/// # Errors
/// As [`unix_sockets`]; `NotFound` when there is no such process.
pub fn unix_sockets_of(pid: u32) -> io::Result<Vec<UnixSocket>> {
    unix_table(format!("/proc/{pid}/net/unix").as_ref())
}

fn unix_table(path: &Path) -> io::Result<Vec<UnixSocket>> {
    // A path may be any bytes.
    let table = fs::read(path)?;
    let table = String::from_utf8_lossy(&table);
    Ok(table.lines().skip(1).filter_map(unix_socket).collect())
}

/// `Num RefCount Protocol Flags Type St Inode Path` (proc_net_unix(5)).
fn unix_socket(line: &str) -> Option<UnixSocket> {
    /// `__SO_ACCEPTCON` of `linux/net.h`, `SOCK_STREAM`, and `SS_CONNECTED`.
    const ACCEPTS: &str = "00010000";
    const STREAM: &str = "0001";
    const CONNECTED: &str = "03";
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_number, _references, _protocol) = (field()?, field()?, field()?);
    let (flags, kind, state, inode) = (field()?, field()?, field()?, field()?);
    // The path is all the rest and may contain blanks.
    let address = rest;
    let (listening, inode) = (flags == ACCEPTS, inode.parse().ok()?);
    let counts = kind == STREAM && (listening || state == CONNECTED) && inode != 0;
    (counts && !address.is_empty()).then(|| UnixSocket {
        address: address.to_owned(),
        inode,
        listening,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_of_unix_sockets_is_read() {
        let listens = "0000000000000000: 00000002 00000000 00010000 0001 01 7291 /run/a b.sock";
        let accepted = "0000000000000000: 00000003 00000000 00000000 0001 03 7300 @x";
        let expected = |address: &str, inode, listening| {
            let address = address.to_owned();
            Some(UnixSocket {
                address,
                inode,
                listening,
            })
        };
        assert_eq!(unix_socket(listens), expected("/run/a b.sock", 7291, true));
        assert_eq!(unix_socket(accepted), expected("@x", 7300, false));
        let nested = "0000000000000000: 00000002 00000000 00010000 0001 01 37232662 /a b/.t.00/s";
        let place = expected("/a b/.t.00/s", 37_232_662, true);
        assert_eq!(unix_socket(nested), place);
        for other in [
            "",
            "0000000000000000: 00000003 00000000 00000000 0001 03 7300",
            "0000000000000000: 00000003 00000000 00000000 0002 01 7300 /dev/log",
            "0000000000000000: 00000003 00000000 00000000 0001 03 0 /run/waits.sock",
            "Num       RefCount Protocol Flags    Type St Inode Path",
        ] {
            assert_eq!(unix_socket(other), None, "{other}");
        }
    }
}
