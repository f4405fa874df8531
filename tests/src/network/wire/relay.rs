//! Takes datagrams from one wire and sends them on to the others, each copy with its own fate.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::program::{LARGEST, Outcome};
use super::{GROUP, PEER, STATUS, VERSION_3};

/// What becomes of datagrams.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    seed: u64,
    lost: u64,
    doubled: u64,
    delay_from: u64,
    delay_to: u64,
}

/// A datagram on its way. Ordered by when it is due, then by when it came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Passage {
    due: Instant,
    came: u64,
    to: Ipv4Addr,
    port: u16,
    datagram: Vec<u8>,
}

pub(super) fn run(arguments: &[String]) -> Outcome<()> {
    let mut fate = Fate::default();
    let mut sides: Vec<Ipv4Addr> = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut number = || -> Outcome<u64> { Ok(rest.next().ok_or("a number?")?.parse()?) };
        match argument.as_str() {
            "--seed" => fate.seed = number()?,
            "--lost" => fate.lost = number()?,
            "--doubled" => fate.doubled = number()?,
            "--delay-from" => fate.delay_from = number()?,
            "--delay-to" => fate.delay_to = number()?,
            address => sides.push(address.parse()?),
        }
    }
    let (sender, receiver) = mpsc::channel();
    for port in [PEER, STATUS, VERSION_3] {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        for side in &sides {
            socket.join_multicast_v4(&GROUP, side)?;
        }
        let (sides, sender) = (sides.clone(), sender.clone());
        thread::spawn(move || receive(&socket, port, &sides, fate, &sender));
    }
    drop(sender);
    println!(r#"{{"event":"relaying"}}"#);
    deliver(&sides, &receiver)
}

/// The wire that an address is on: it has the first three bytes of the relay's own there.
fn wire(sides: &[Ipv4Addr], from: IpAddr) -> Option<usize> {
    let IpAddr::V4(from) = from else { return None };
    let net = |address: &Ipv4Addr| address.octets()[..3].to_vec();
    sides.iter().position(|side| net(side) == net(&from))
}

fn receive(
    socket: &UdpSocket,
    port: u16,
    sides: &[Ipv4Addr],
    fate: Fate,
    sender: &Sender<Passage>,
) -> Outcome<()> {
    let streams = (0..sides.len() as u64).map(|side| side << 16 | u64::from(port));
    let mut chances: Vec<Chance> = streams
        .map(|stream| Chance::new(fate.seed, stream))
        .collect();
    let mut buffer = [0; LARGEST];
    let mut came = 0;
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let Some(source) = wire(sides, from.ip()) else {
            continue;
        };
        let chance = &mut chances[source];
        for to in sides.iter().filter(|side| **side != sides[source]) {
            let copies = match (chance.percent(fate.lost), chance.percent(fate.doubled)) {
                (true, _) => 0,
                (false, true) => 2,
                (false, false) => 1,
            };
            match copies {
                0 => println!(r#"{{"event":"fate","fate":"lost","port":{port}}}"#),
                2 => println!(r#"{{"event":"fate","fate":"doubled","port":{port}}}"#),
                _ => {}
            }
            for _ in 0..copies {
                let late = fate.delay_from + chance.below(fate.delay_to - fate.delay_from + 1);
                came += 1;
                sender.send(Passage {
                    due: Instant::now() + Duration::from_millis(late),
                    came,
                    to: *to,
                    port,
                    datagram: buffer[..length].to_vec(),
                })?;
            }
        }
    }
}

/// Sends each copy when it is due.
fn deliver(sides: &[Ipv4Addr], copies: &Receiver<Passage>) -> Outcome<()> {
    let mut senders = Vec::new();
    for side in sides {
        // Bound to this address, multicast goes out of the interface that has it.
        let socket = UdpSocket::bind((*side, 0))?;
        socket.set_multicast_loop_v4(false)?;
        senders.push((*side, socket));
    }
    let mut waiting: BinaryHeap<Reverse<Passage>> = BinaryHeap::new();
    let mut latest = std::collections::HashMap::new();
    loop {
        let due = waiting.peek().map(|Reverse(copy)| copy.due);
        let next = match due {
            Some(due) => copies.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => copies.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(copy) => waiting.push(Reverse(copy)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("nobody receives any more".into()),
        }
        let now = Instant::now();
        while waiting.peek().is_some_and(|Reverse(copy)| copy.due <= now)
            && let Some(Reverse(copy)) = waiting.pop()
        {
            let last = latest.entry((copy.to, copy.port)).or_insert(copy.came);
            if *last > copy.came {
                println!(
                    r#"{{"event":"fate","fate":"overtaken","port":{}}}"#,
                    copy.port
                );
            }
            *last = copy.came.max(*last);
            for (side, socket) in &senders {
                if *side == copy.to {
                    socket.send_to(&copy.datagram, (GROUP, copy.port))?;
                }
            }
        }
    }
}
