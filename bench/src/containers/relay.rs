//! A wire that loses datagrams, and an ear that counts them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::Mutex;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::GROUP;
use super::network::SIDES;
use crate::Failure;

/// Larger than any datagram of either wire.
const LONGEST: usize = 2048;
/// Room for the bursts of many peers while the machine is busy, so that only the seed loses datagrams.
const QUEUE: usize = 1 << 20;

/// `relay SEED LOST_PERCENT PORT…`: sends each datagram of one bridge again on the other, or does not.
/// Says "ready" once it listens everywhere; runs until it is killed.
pub(super) async fn run(words: &[&str]) -> Result<(), Failure> {
    let [seed, percent, ports @ ..] = words else {
        return Err("relay needs a seed, a loss and ports".into());
    };
    let (seed, percent): (u64, u64) = (seed.parse()?, percent.parse()?);
    let mut tasks = Vec::new();
    for port in ports {
        let port = port.parse()?;
        for (from, to) in [(SIDES[0], SIDES[1]), (SIDES[1], SIDES[0])] {
            let (receiver, sender) = (receiver(from, port)?, sender(to)?);
            // Each has dice of its own: what one wire loses does not depend on how busy another is.
            let dice = Dice(seed ^ (u64::from(port) << 32) ^ u64::from(from.to_bits()));
            tasks.push(tokio::spawn(pass(receiver, sender, port, percent, dice)));
        }
    }
    eprintln!("ready");
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn pass(
    receiver: UdpSocket,
    sender: UdpSocket,
    port: u16,
    percent: u64,
    mut dice: Dice,
) -> Result<(), std::io::Error> {
    let mut buffer = [0; LONGEST];
    loop {
        let length = receiver.recv(&mut buffer).await?;
        if dice.next() % 100 < percent {
            continue;
        }
        let datagram = buffer.get(..length).unwrap_or_default();
        sender.send_to(datagram, (GROUP, port)).await?;
    }
}

/// `listen PORT…`: counts datagrams on the first bridge. Each line on standard input is answered with
/// "heard PORT COUNT" for each port and "heard end".
pub(super) async fn listen(words: &[&str]) -> Result<(), Failure> {
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    for port in words {
        let port: u16 = port.parse()?;
        counts.lock().map_err(poisoned)?.insert(port, 0_u64);
        let (receiver, counts) = (receiver(SIDES[0], port)?, Arc::clone(&counts));
        tokio::spawn(async move {
            let mut buffer = [0; LONGEST];
            while receiver.recv(&mut buffer).await.is_ok() {
                if let Ok(mut counts) = counts.lock() {
                    *counts.entry(port).or_default() += 1;
                }
            }
        });
    }
    eprintln!("ready");
    tokio::task::spawn_blocking(move || {
        for line in std::io::stdin().lines() {
            line?;
            for (port, count) in counts.lock().map_err(poisoned)?.iter() {
                eprintln!("heard {port} {count}");
            }
            eprintln!("heard 0 0");
        }
        Ok(())
    })
    .await?
}

fn poisoned<T>(_: T) -> Failure {
    "a counter failed".into()
}

/// Takes what comes by this interface, whatever else of this process listens by others.
fn receiver(interface: Ipv4Addr, port: u16) -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_all_v4(false)?;
    socket.set_recv_buffer_size(QUEUE)?;
    socket.bind(&SocketAddrV4::new(GROUP, port).into())?;
    let interface = InterfaceIndexOrAddress::Address(interface);
    socket.join_multicast_v4_n(&GROUP, &interface)?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// Does not hear itself, or the relay would answer itself for ever.
fn sender(interface: Ipv4Addr) -> Result<UdpSocket, Failure> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_if_v4(&interface)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.bind(&SocketAddrV4::new(interface, 0).into())?;
    Ok(UdpSocket::from_std(socket.into())?)
}

/// SplitMix64: the same seed loses the same datagrams of each wire, in their order.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
