//! Whether what is sent to the group on an interface can be heard there.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use handover_proto::container::GROUP_V6;
use handover_sys::multicast::{Group, Receiver, Sender};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::container::{Link, Protocol};

/// How long the own copy may take, which the kernel delivers before the send returns.
const WAIT: Duration = Duration::from_secs(1);
/// How long an address may be new: one second, and as much at random (RFC 4862, 5.4.2).
const NEW: Duration = Duration::from_secs(3);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// Ports that are tried until a free one is found.
const PORTS: u32 = 8;

/// Sends to the group on this interface, on a port of its own, so that no peer hears it; whether
/// the own copy came back.
pub(super) fn comes_back(link: &Link, group: Ipv4Addr) -> io::Result<bool> {
    let address = match link.protocol {
        Protocol::Ipv4 => IpAddr::V4(group),
        Protocol::Ipv6 => IpAddr::V6(GROUP_V6),
    };
    let token = random().to_be_bytes();
    let (receiver, group) = receiver(address)?;
    receiver.join(link.index)?;
    send(&Sender::open(group, link.index)?, &token)?;
    hears(&receiver, &token, link.index)
}

/// An address of IPv6 that is new cannot be used until the kernel has asked whether it is anybody's.
fn send(sender: &Sender, token: &[u8]) -> io::Result<()> {
    let until = Instant::now() + NEW;
    loop {
        match sender.send(token) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrNotAvailable && Instant::now() < until =>
            {
                std::thread::sleep(PAUSE);
            }
            other => return other,
        }
    }
}

fn receiver(address: IpAddr) -> io::Result<(Receiver, Group)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORTS {
        // 49152 and up are nobody's (RFC 6335).
        let port = u16::try_from(random() % 0x4000).unwrap_or(0) | 0xc000;
        let Some(group) = Group::new(address, port) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        match Receiver::bind(group) {
            Ok(receiver) => return Ok((receiver, group)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn hears(receiver: &Receiver, token: &[u8], interface: u32) -> io::Result<bool> {
    let until = Instant::now() + WAIT;
    let mut buffer = [0; 64];
    loop {
        match receiver.receive(&mut buffer) {
            Ok(Some(arrival)) => {
                if arrival.interface == interface && buffer[..arrival.bytes] == *token {
                    return Ok(true);
                }
                continue;
            }
            Ok(None) => continue,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(receiver, PollFlags::IN)], Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Each of these states is keyed by the kernel's random numbers.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
