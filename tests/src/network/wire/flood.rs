//! Garbage without end: noise, and true datagrams with something wrong.

use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use super::chance::Chance;
use super::program::Outcome;
use super::{GROUP, legacy};

/// Longest datagram of noise: beyond what any of the wires allows.
const LONGEST: u64 = 1200;

/// How many at once.
const BURST: u64 = 50;

/// Between two bursts, so that true datagrams find room in the queues now and then.
const PAUSE: Duration = Duration::from_millis(5);

/// The length and version of a status datagram of handover-lib 0.2.3.
const STATUS: (usize, u8) = (120, 2);

pub(super) fn run(arguments: &[String]) -> Outcome<()> {
    let (seed, ports) = arguments.split_first().ok_or("flood SEED PORT...")?;
    let ports: Vec<u16> = ports
        .iter()
        .map(|port| port.parse())
        .collect::<Result<_, _>>()?;
    let mut chance = Chance::new(seed.parse()?, 0);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    for count in 1_u64.. {
        if count % BURST == 0 {
            thread::sleep(PAUSE);
        }
        let datagram = malformed(&mut chance);
        for port in &ports {
            // A full queue is what a flood is.
            let _ = socket.send_to(&datagram, (GROUP, *port));
        }
        if count == BURST {
            println!(r#"{{"event":"flooding"}}"#);
        }
    }
    Ok(())
}

/// No datagram that any of the wires accepts.
fn malformed(chance: &mut Chance) -> Vec<u8> {
    let mut noise = |length: u64| -> Vec<u8> { (0..length).map(|_| chance.next() as u8).collect() };
    let kind = noise(1)[0] % 6;
    match kind {
        0 => Vec::new(),
        // A peer datagram that is cut short, or longer than it is.
        1 => legacy(i64::MAX)[..usize::from(noise(1)[0] % 9)].to_vec(),
        2 => [legacy(i64::MAX), noise(1)].concat(),
        // A status datagram whose status is none.
        3 => {
            let mut datagram = noise(STATUS.0 as u64);
            datagram[0] = STATUS.1;
            datagram[STATUS.0 - 8..].copy_from_slice(b"SIDEWAYS");
            datagram
        }
        // Version 3, with flags that it does not have.
        4 => [vec![3, 0xfe], noise(60)].concat(),
        _ => {
            let length = u64::from_le_bytes(noise(8).try_into().unwrap_or_default()) % LONGEST;
            let mut datagram = noise(length);
            if let Some(version @ 1..=3) = datagram.first_mut() {
                *version = 0xff;
            }
            datagram
        }
    }
}
