//! Questions to the kernel's socket diagnosis (sock_diag(7)): which socket is this end of this TCP
//! connection? Which are there at all?

mod dump;

pub use dump::InetSocket;
pub(crate) use dump::sockets;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `NLMSG_ERROR` and `NLM_F_REQUEST` of `linux/netlink.h`.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
/// `TCP_LISTEN` of `net/tcp_states.h`.
const TCP_LISTEN: u8 = 10;
/// `nlmsghdr`; and `inet_diag_req_v2` and `inet_diag_msg` of `linux/inet_diag.h`.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const ANSWER: usize = HEADER + 72;
/// Where `idiag_state` and `idiag_inode` are in the answer.
const STATE_AT: usize = HEADER + 1;
const INODE_AT: usize = HEADER + 68;

/// The inode of the socket with local address `local` and peer `peer`. `None` when there is no
/// such connection, or no process holds that end (not accepted yet, or closed already).
pub(crate) fn inode_of(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<u64>> {
    let Some(request) = request(local, peer) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{local} and {peer} are of different address families"),
        ));
    };
    let socket = open()?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request, SendFlags::empty(), &kernel)?;
    // The answer is one message: header, inet_diag_msg and a few attributes, below one page.
    let mut buffer = [0u8; 4096];
    loop {
        match recv(socket.as_fd(), &mut buffer, RecvFlags::empty()) {
            Ok((bytes, _)) => return read(buffer.get(..bytes).unwrap_or_default()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

/// `nlmsghdr` and `inet_diag_req_v2`. An IPv4 connection of a dual-stack socket is known to the
/// kernel as IPv4, so mapped addresses are unmapped.
fn request(local: SocketAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let (source, destination) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let family = match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) => libc::AF_INET,
        (IpAddr::V6(_), IpAddr::V6(_)) => libc::AF_INET6,
        _ => return None,
    };
    let interface = match (local, peer) {
        (SocketAddr::V6(local), SocketAddr::V6(peer)) => local.scope_id().max(peer.scope_id()),
        _ => 0,
    };
    let mut bytes = Vec::with_capacity(REQUEST);
    bytes.extend((REQUEST as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence 1; port 0: the kernel fills in ours.
    bytes.extend(1u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    // No extensions, all states (an exact query ignores them).
    bytes.extend([family as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(local.port().to_be_bytes());
    bytes.extend(peer.port().to_be_bytes());
    bytes.extend(octets(source));
    bytes.extend(octets(destination));
    bytes.extend(interface.to_ne_bytes());
    // INET_DIAG_NOCOOKIE twice: any incarnation.
    bytes.extend([0xff; 8]);
    Some(bytes)
}

/// An address as 16 bytes in network order; IPv4 in the first four.
fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            bytes
        }
    }
}

fn strange() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's answer about a socket is not what sock_diag(7) describes",
    )
}

fn read(answer: &[u8]) -> io::Result<Option<u64>> {
    let kind = u16::from_ne_bytes(at(answer, 4).ok_or_else(strange)?);
    match kind {
        NLMSG_ERROR => {
            let error = i32::from_ne_bytes(at(answer, HEADER).ok_or_else(strange)?);
            match error.saturating_neg() {
                libc::ENOENT => Ok(None),
                number => Err(io::Error::from_raw_os_error(number)),
            }
        }
        SOCK_DIAG_BY_FAMILY if answer.len() >= ANSWER => {
            let [state] = at(answer, STATE_AT).ok_or_else(strange)?;
            let inode = u32::from_ne_bytes(at(answer, INODE_AT).ok_or_else(strange)?);
            // Without such a connection the kernel falls back to the listener of the port.
            Ok((state != TCP_LISTEN && inode != 0).then_some(u64::from(inode)))
        }
        _ => Err(strange()),
    }
}

fn at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}
