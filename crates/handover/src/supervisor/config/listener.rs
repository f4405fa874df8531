//! A listener as the user writes it.

use std::fmt;
use std::str::FromStr;

use handover_proto::manifest::{ListenerKind, NameError, check_name};
use serde::{Deserialize, Serialize};

/// A listener as the user writes it: `NAME=ADDRESS`, where ADDRESS is `HOST:PORT`,
/// `udp:HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenerSpec {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ListenerKind,
    /// `HOST:PORT` or a path.
    pub address: String,
}

/// Why a listener is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenerSpecError {
    /// No `=`.
    #[error("listener {found:?}: expected NAME=ADDRESS, such as http=127.0.0.1:8080")]
    NoName {
        /// What was written.
        found: String,
    },
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The address has no port.
    #[error(
        "listener {name}: address {found:?} has no port; expected HOST:PORT, udp:HOST:PORT or unix:PATH"
    )]
    NoPort {
        /// Its name.
        name: String,
        /// What was written.
        found: String,
    },
    /// The path is empty.
    #[error("listener {name}: unix: needs a path")]
    NoPath {
        /// Its name.
        name: String,
    },
}

impl FromStr for ListenerSpec {
    type Err = ListenerSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = text
            .split_once('=')
            .ok_or_else(|| ListenerSpecError::NoName { found: text.into() })?;
        check_name(name)?;
        let (kind, address) = match address.split_once(':') {
            Some(("unix", path)) => (ListenerKind::Unix, path),
            Some(("udp", rest)) => (ListenerKind::Udp, rest),
            Some(("tcp", rest)) => (ListenerKind::Tcp, rest),
            _ => (ListenerKind::Tcp, address),
        };
        let name = name.to_owned();
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match kind {
            ListenerKind::Unix if address.is_empty() => Err(ListenerSpecError::NoPath { name }),
            ListenerKind::Tcp | ListenerKind::Udp if !has_port => Err(ListenerSpecError::NoPort {
                name,
                found: address.into(),
            }),
            _ => Ok(Self {
                name,
                kind,
                address: address.into(),
            }),
        }
    }
}

impl fmt::Display for ListenerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            address,
        } = self;
        match kind {
            ListenerKind::Tcp => write!(f, "{name}={address}"),
            ListenerKind::Udp | ListenerKind::Unix => write!(f, "{name}={kind}:{address}"),
        }
    }
}

impl TryFrom<String> for ListenerSpec {
    type Error = ListenerSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenerSpec> for String {
    fn from(spec: ListenerSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_read_and_print_alike() {
        for text in [
            "http=127.0.0.1:8080",
            "web=[::]:80",
            "dns=udp:0.0.0.0:53",
            "s=unix:/run/x",
        ] {
            assert_eq!(text.parse::<ListenerSpec>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn wrong_listeners_say_what_is_wrong() {
        let wrong = |text: &str| text.parse::<ListenerSpec>().expect_err(text);
        assert!(matches!(wrong("8080"), ListenerSpecError::NoName { .. }));
        assert!(matches!(
            wrong("=x:1"),
            ListenerSpecError::Name(NameError::Empty)
        ));
        assert!(matches!(
            wrong("http=localhost"),
            ListenerSpecError::NoPort { .. }
        ));
        assert!(matches!(
            wrong("http=localhost:99999"),
            ListenerSpecError::NoPort { .. }
        ));
        assert!(matches!(wrong("s=unix:"), ListenerSpecError::NoPath { .. }));
    }
}
