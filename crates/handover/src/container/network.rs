//! Which interfaces datagrams cross.

use std::fmt;

use handover_sys::interface::Interface;

/// The bridge that balena's supervisor makes on each device for services in host mode:
/// `NETWORK_INTERFACE` of handover-lib by default.
pub const DEFAULT_INTERFACE: &str = "supervisor0";

/// How containers of a service see each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Each has a network of its own, joined by a bridge of the device: every interface that is up
    /// and takes multicast is used, but not loopback.
    #[default]
    Bridge,
    /// All have the host's network, and with it the LAN, where the same service runs on other
    /// devices: this interface is used and no other. While it is missing nothing is sent or heard.
    Host {
        /// Its name, by default [`DEFAULT_INTERFACE`].
        interface: String,
    },
}

impl Network {
    /// The interfaces that can be used now, of all there are.
    pub fn choose(&self, all: &[Interface]) -> Vec<Link> {
        all.iter()
            .filter(|one| one.up && one.multicast)
            .filter(|one| match self {
                Self::Bridge => !one.loopback,
                Self::Host { interface } => one.name == *interface,
            })
            .filter_map(|one| {
                let protocol = match (one.ipv4.is_empty(), one.ipv6.is_empty()) {
                    (false, _) => Protocol::Ipv4,
                    (true, false) => Protocol::Ipv6,
                    (true, true) => return None,
                };
                Some(Link {
                    index: one.index,
                    name: one.name.clone(),
                    protocol,
                })
            })
            .collect()
    }

    /// In host mode: the other interfaces, over which handover-lib 0.0.10 sends nevertheless. It
    /// names the interface on its receiving socket only, so its datagrams take the default route.
    pub(super) fn strays(&self, all: &[Interface]) -> Vec<u32> {
        let Self::Host { interface } = self else {
            return Vec::new();
        };
        all.iter()
            .filter(|one| one.up && one.multicast && !one.loopback && !one.ipv4.is_empty())
            .filter(|one| one.name != *interface)
            .map(|one| one.index)
            .collect()
    }

    /// What would be used if it were there, for people.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Bridge => "any that is up, takes multicast and is not loopback".to_owned(),
            Self::Host { interface } => format!(
                "{interface}, and no other, since the network mode is host; name another one with \
                 NETWORK_INTERFACE"
            ),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge mode"),
            Self::Host { interface } => write!(f, "host mode over {interface}"),
        }
    }
}

/// What is spoken on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// It has an address of IPv4.
    Ipv4,
    /// It has none: version 3 only, since legacy peers speak IPv4.
    Ipv6,
}

/// An interface that is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
}

#[cfg(test)]
mod tests;
