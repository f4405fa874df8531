//! Where a listener is bound and where a connection comes from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// An address of either end: Internet or Unix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IPv4 or IPv6 address with its port. IPv4 clients of a dual-stack listener appear as
    /// IPv6 (`::ffff:a.b.c.d`); [`Address::ip`] undoes that.
    Inet(SocketAddr),
    /// A Unix socket: its path, `@name` if it is abstract, or nothing, as most clients have.
    Unix(Option<String>),
}

impl Address {
    /// The Internet address, when it is one.
    #[must_use]
    pub const fn inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// The IP address, IPv4 written as IPv4.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.inet().map(|address| address.ip().to_canonical())
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    pub(crate) fn of_unix(path: Option<&Path>, name: Option<&[u8]>) -> Self {
        let path = path.map(|path| path.to_string_lossy().into_owned());
        let name = name
            .filter(|name| !name.is_empty())
            .map(|name| format!("@{}", String::from_utf8_lossy(name)));
        Self::Unix(path.or(name))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix(Some(name)) => f.write_str(name),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}
