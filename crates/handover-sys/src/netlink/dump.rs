//! All sockets of a kind, in the caller's network namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{RecvFlags, SendFlags, recv, sendto};

use super::{ANSWER, HEADER, INODE_AT, NLM_F_REQUEST, NLMSG_ERROR, REQUEST, STATE_AT, at, open};
use super::{SOCK_DIAG_BY_FAMILY, strange};

/// `NLM_F_ROOT | NLM_F_MATCH` and `NLMSG_DONE` of `linux/netlink.h`.
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_DONE: u16 = 3;
/// Where `struct inet_diag_sockid` and the counters are in the answer.
const FAMILY_AT: usize = HEADER;
const SOURCE_PORT_AT: usize = HEADER + 4;
const PEER_PORT_AT: usize = HEADER + 6;
const SOURCE_AT: usize = HEADER + 8;
const PEER_AT: usize = HEADER + 24;
const RECEIVE_QUEUE_AT: usize = HEADER + 56;
/// One answer is a batch of messages; the kernel fills at most 32 KiB for readers with that much
/// room (`netlink_dump`, `max_recvmsg_len`).
const ROOM: usize = 32 * 1024;

/// A TCP or UDP socket as the kernel lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InetSocket {
    /// Its own address.
    pub local: SocketAddr,
    /// The other end's; unspecified with port 0 when there is none.
    pub peer: SocketAddr,
    /// Its state, by the numbers of `net/tcp_states.h`.
    pub state: u8,
    /// Its inode; 0 when no process holds it: not accepted yet, or closed already.
    pub inode: u64,
    /// Of a listening socket: connections that wait to be accepted. Else: bytes that wait to be
    /// read.
    pub waiting: u32,
}

/// Every socket of this protocol in one of `states` (bits by state number), of both families.
pub(crate) fn sockets(protocol: i32, states: u32) -> io::Result<Vec<InetSocket>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        match dump(family as u8, protocol as u8, states, &mut found) {
            // Built without IPv6, or without diagnosis of this protocol.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(found)
}

fn dump(family: u8, protocol: u8, states: u32, found: &mut Vec<InetSocket>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(REQUEST);
    bytes.extend((REQUEST as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence 1; port 0: the kernel fills in ours.
    bytes.extend(1u32.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend([family, protocol, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    // Any address.
    bytes.resize(REQUEST, 0);
    let socket = open()?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &bytes, SendFlags::empty(), &kernel)?;
    let mut buffer = vec![0u8; ROOM];
    loop {
        let length = match recv(socket.as_fd(), &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        let batch = buffer.get(..length).ok_or_else(strange)?;
        if read(batch, found)? == Progress::Done {
            return Ok(());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    More,
    Done,
}

/// One batch: messages one after the other, each padded to four bytes.
fn read(mut batch: &[u8], found: &mut Vec<InetSocket>) -> io::Result<Progress> {
    while !batch.is_empty() {
        let length = u32::from_ne_bytes(at(batch, 0).ok_or_else(strange)?) as usize;
        let message = batch.get(..length).filter(|_| length >= HEADER);
        let message = message.ok_or_else(strange)?;
        match u16::from_ne_bytes(at(message, 4).ok_or_else(strange)?) {
            NLMSG_DONE => return Ok(Progress::Done),
            NLMSG_ERROR => {
                let error = i32::from_ne_bytes(at(message, HEADER).ok_or_else(strange)?);
                return Err(io::Error::from_raw_os_error(error.saturating_neg()));
            }
            SOCK_DIAG_BY_FAMILY if message.len() >= ANSWER => {
                found.extend(socket(message));
            }
            _ => return Err(strange()),
        }
        batch = batch.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Progress::More)
}

fn socket(message: &[u8]) -> Option<InetSocket> {
    let [family] = at(message, FAMILY_AT)?;
    let [state] = at(message, STATE_AT)?;
    let address = |bytes_at: usize, port_at: usize| {
        let port = u16::from_be_bytes(at(message, port_at)?);
        let ip = match i32::from(family) {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::from(at::<4>(message, bytes_at)?)),
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::from(at::<16>(message, bytes_at)?)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    };
    Some(InetSocket {
        local: address(SOURCE_AT, SOURCE_PORT_AT)?,
        peer: address(PEER_AT, PEER_PORT_AT)?,
        state,
        inode: u32::from_ne_bytes(at(message, INODE_AT)?).into(),
        waiting: u32::from_ne_bytes(at(message, RECEIVE_QUEUE_AT)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_batch_is_an_error_and_no_panic() {
        for bytes in [
            &[1u8, 0, 0][..],
            &[0; 16],
            &[255; 20],
            &[16, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(read(bytes, &mut Vec::new()).is_err(), "{bytes:?}");
        }
    }
}
