//! The bridge network of one device.

use std::cell::Cell;
use std::sync::Arc;

use super::{Container, Namespace};

/// A bridge, in a namespace of its own. Whoever joins gets a namespace with an `eth0` on it.
#[derive(Debug)]
pub struct Bridge {
    namespace: Namespace,
    /// Ends of the addresses given so far; 1 is the bridge itself.
    members: Cell<u8>,
    addresses: Addresses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    V4,
    V6,
}

impl Addresses {
    fn member(self, end: u8) -> String {
        match self {
            Self::V4 => format!("10.77.0.{end}/24"),
            Self::V6 => format!("fd77::{end}/64"),
        }
    }

    fn gateway(self) -> &'static str {
        match self {
            Self::V4 => "10.77.0.1",
            Self::V6 => "fd77::1",
        }
    }
}

impl Bridge {
    /// With IPv4 addresses, as Docker makes it. (IPv6 is there too, link-local.)
    #[must_use]
    pub fn new() -> Self {
        Self::with(Addresses::V4)
    }

    /// Without any IPv4 address.
    #[must_use]
    pub fn ipv6_only() -> Self {
        Self::with(Addresses::V6)
    }

    fn with(addresses: Addresses) -> Self {
        let namespace = Namespace::new();
        // Nobody here asks who wants which group, and a bridge that snoops would drop what nobody
        // has asked for lately.
        namespace.ip([
            "link add bridge type bridge mcast_snooping 0".to_owned(),
            format!("address add {} dev bridge nodad", addresses.member(1)),
            "link set bridge up".to_owned(),
        ]);
        Self {
            namespace,
            members: Cell::new(1),
            addresses,
        }
    }

    /// A namespace on the bridge.
    #[must_use]
    pub fn join(&self) -> Arc<Namespace> {
        let namespace = Arc::new(Namespace::new());
        self.plug(&namespace);
        namespace
    }

    /// A container in a namespace of its own on the bridge.
    #[must_use]
    pub fn container(&self) -> Container {
        Container::on(self.join())
    }

    /// Gives a namespace its `eth0`, which until then has only its loopback.
    ///
    /// # Panics
    /// When it has one.
    pub fn plug(&self, namespace: &Namespace) {
        let end = self.members.get() + 1;
        self.members.set(end);
        self.namespace.ip([
            format!(
                "link add veth{end} type veth peer name eth0 netns {}",
                namespace.pid()
            ),
            format!("link set veth{end} master bridge up"),
        ]);
        namespace.ip([
            format!("address add {} dev eth0 nodad", self.addresses.member(end)),
            "link set eth0 up".to_owned(),
            format!("route add default via {}", self.addresses.gateway()),
        ]);
        namespace.until_up("eth0");
        self.namespace.until_up(&format!("veth{end}"));
    }
}

impl Default for Bridge {
    fn default() -> Self {
        Self::new()
    }
}
