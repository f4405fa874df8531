//! The program `wire`: relays, hears, sends and floods the multicast group of handover-lib, and
//! says what happens as one JSON object a line.
//!
//! ```text
//! wire relay --seed N --lost PERCENT --doubled PERCENT --delay-from MS --delay-to MS ADDRESS...
//! wire hear PORT...
//! wire send PORT HEX
//! wire flood SEED PORT...
//! ```
//!
//! On the standard library alone: what is tested here must not be tested with itself.
use std::error::Error;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;

use super::{GROUP, flood, relay};

/// More than any datagram that the peers or a test sends.
pub(super) const LARGEST: usize = 2048;

/// What became of it; the program prints the error.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Does what the arguments say, in most cases until it is killed.
///
/// # Errors
/// When the arguments are none of the above, or the network refuses.
pub fn run(arguments: &[String]) -> Outcome<()> {
    let (what, rest) = arguments.split_first().ok_or("what to do?")?;
    match what.as_str() {
        "relay" => relay::run(rest),
        "hear" => hear(rest),
        "send" => send(rest),
        "flood" => flood::run(rest),
        other => Err(format!("cannot {other}").into()),
    }
}

fn hear(ports: &[String]) -> Outcome<()> {
    let mut listeners = Vec::new();
    for port in ports {
        let port: u16 = port.parse()?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
        listeners.push(thread::spawn(move || remember(&socket, port)));
    }
    println!(r#"{{"event":"hearing"}}"#);
    for listener in listeners {
        listener.join().map_err(|_| "a listener panicked")??;
    }
    Ok(())
}

fn remember(socket: &UdpSocket, port: u16) -> Outcome<()> {
    let mut datagram = [0; LARGEST];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        let hex: String = datagram[..length]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        println!(r#"{{"event":"heard","port":{port},"from":"{from}","hex":"{hex}"}}"#);
    }
}

fn send(arguments: &[String]) -> Outcome<()> {
    let [port, hex] = arguments else {
        return Err("send PORT HEX".into());
    };
    let bytes = (0..hex.len()).step_by(2).map(|at| {
        let pair = hex.get(at..at + 2).ok_or("half a byte")?;
        Ok::<_, Box<dyn Error + Send + Sync>>(u8::from_str_radix(pair, 16)?)
    });
    let datagram = bytes.collect::<Outcome<Vec<u8>>>()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.send_to(&datagram, (GROUP, port.parse()?))?;
    Ok(())
}
