//! Whoever else is on the network.

mod chance;
mod flood;
pub mod program;
mod relay;

use std::net::Ipv4Addr;

use serde_json::Value;

use super::{Entrypoint, Namespace};
use crate::patience::until;

/// The multicast group of handover-lib (0.0.10 and 0.2.3), which is ours too.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 16, 16);

/// The port of its peer datagrams.
pub const PEER: u16 = 1536;

/// The port of its status datagrams (0.2.3).
pub const STATUS: u16 = 1537;

/// The port of version 3.
pub const VERSION_3: u16 = 1538;

/// The peer datagram of handover-lib (0.0.10): a version and the start time of the sender, in
/// milliseconds since the epoch. Written here from the description of the wire, not with the codec
/// that is tested against it.
#[must_use]
pub fn legacy(started_ms: i64) -> Vec<u8> {
    let mut datagram = vec![1];
    datagram.extend(started_ms.to_be_bytes());
    datagram
}

/// A program in a namespace that sends to the group, or listens to it.
#[derive(Debug)]
pub struct Wire(Entrypoint);

impl Wire {
    /// Listens on these ports and remembers all it hears; `wire` is the program of that name.
    ///
    /// Nobody else may listen on them in this namespace.
    #[must_use]
    pub fn listening(namespace: &Namespace, wire: &str, ports: &[u16]) -> Self {
        let mut command = namespace.command(wire);
        command.arg("hear").args(ports.iter().map(u16::to_string));
        let this = Self(Entrypoint::plain(command));
        this.0.until("hearing");
        this
    }

    /// The datagrams of a port so far, in the order they came.
    #[must_use]
    pub fn heard(&self, port: u16) -> Vec<Vec<u8>> {
        let heard = self.0.said("heard").into_iter();
        let heard = heard.filter(|heard| heard["port"] == port);
        heard.map(|heard| bytes(&heard["hex"])).collect()
    }

    /// Waits until a datagram of this port is as wanted.
    ///
    /// # Panics
    /// When none ever is.
    pub fn until(&self, port: u16, wanted: impl Fn(&[u8]) -> bool) {
        until("a datagram", || {
            self.heard(port).iter().any(|datagram| wanted(datagram))
        });
    }

    /// Waits until so many datagrams of this port were heard.
    ///
    /// # Panics
    /// When they never are.
    pub fn until_count(&self, port: u16, count: usize) {
        until("datagrams", || self.heard(port).len() >= count);
    }

    /// Sends one datagram to a port of the group, once.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn send(namespace: &Namespace, wire: &str, port: u16, datagram: &[u8]) {
        let hex: String = datagram.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut command = namespace.command(wire);
        command.args(["send", &port.to_string(), &hex]);
        let mut sender = Entrypoint::plain(command);
        assert_eq!(sender.ended(), 0, "{hex} to port {port}");
    }

    /// Sends garbage to these ports, thousands a second, until it is dropped. What it sends depends on
    /// the seed only: noise, and the beginnings of true datagrams with something wrong.
    #[must_use]
    pub fn flooding(namespace: &Namespace, wire: &str, seed: u64, ports: &[u16]) -> Self {
        let mut command = namespace.command(wire);
        command.arg("flood").arg(seed.to_string());
        command.args(ports.iter().map(u16::to_string));
        let this = Self(Entrypoint::plain(command));
        this.0.until("flooding");
        this
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap_or_default();
    let digits = hex.as_bytes().chunks(2);
    let texts = digits.filter_map(|pair| std::str::from_utf8(pair).ok());
    texts
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}
