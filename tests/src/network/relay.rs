//! A network that loses, doubles, delays and reorders datagrams.
//!
//! The kernels that tests run on need not have `netem`. So each container is on a wire of its own
//! that ends at a relay, which takes multicast datagrams from one wire and sends them on to the
//! others, each copy with a fate of its own.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Container, Entrypoint, Namespace};
use crate::patience::until;

/// What becomes of a datagram on its way to one container.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Of a hundred, how many are lost.
    pub lost: u8,
    /// Of a hundred that are not lost, how many arrive twice.
    pub doubled: u8,
    /// How late a copy is, in milliseconds. A range makes them overtake each other.
    pub delay: RangeInclusive<u64>,
}

impl Fate {
    /// Everything arrives, once and at once.
    pub const KIND: Self = Self {
        lost: 0,
        doubled: 0,
        delay: 0..=0,
    };
}

/// The relay, and the namespaces that it connects.
#[derive(Debug)]
pub struct Relay {
    relay: Entrypoint,
    _namespace: Namespace,
    members: Vec<Arc<Namespace>>,
}

impl Relay {
    /// Connects `count` namespaces. `wire` is the program of that name; with the same `seed` the
    /// n-th datagram of a wire and port has the same fate.
    #[must_use]
    pub fn between(count: u8, wire: &str, fate: &Fate, seed: u64) -> Self {
        let namespace = Namespace::new();
        let members: Vec<_> = (1..=count)
            .map(|number| member(&namespace, number))
            .collect();
        let mut command = namespace.command(wire);
        command.args(["relay", "--seed", &seed.to_string()]);
        command.args(["--lost", &fate.lost.to_string()]);
        command.args(["--doubled", &fate.doubled.to_string()]);
        command.args(["--delay-from", &fate.delay.start().to_string()]);
        command.args(["--delay-to", &fate.delay.end().to_string()]);
        command.args((1..=count).map(|number| format!("10.78.{number}.1")));
        let relay = Entrypoint::plain(command);
        relay.until("relaying");
        Self {
            relay,
            _namespace: namespace,
            members,
        }
    }

    /// A container on the wire of this number, counted from 0.
    ///
    /// # Panics
    /// When there is no such wire.
    #[must_use]
    pub fn container(&self, wire: usize) -> Container {
        Container::on(Arc::clone(&self.members[wire]))
    }

    /// Waits until this has become of some datagram: `lost`, `doubled` or `overtaken`. That is
    /// the proof that the network was as bad as the test says.
    ///
    /// # Panics
    /// When it never happens.
    pub fn until(&self, fate: &str) {
        until(fate, || {
            let mut said = self.relay.said("fate").into_iter();
            said.any(|said| said["fate"] == fate)
        });
    }
}

fn member(relay: &Namespace, number: u8) -> Arc<Namespace> {
    let namespace = Arc::new(Namespace::new());
    relay.ip([
        format!(
            "link add veth{number} type veth peer name eth0 netns {}",
            namespace.pid()
        ),
        format!("address add 10.78.{number}.1/24 dev veth{number}"),
        format!("link set veth{number} up"),
    ]);
    namespace.ip([
        format!("address add 10.78.{number}.2/24 dev eth0"),
        "link set eth0 up".to_owned(),
        format!("route add default via 10.78.{number}.1"),
    ]);
    namespace.until_up("eth0");
    relay.until_up(&format!("veth{number}"));
    namespace
}
