//! Listeners by name: what crosses, checked before a descriptor is adopted (I8).

use alloc::string::String;
use core::fmt;
use serde::{Deserialize, Serialize};

/// Longest listener name: systemd's limit for `LISTEN_FDNAMES` entries (`FDNAME_MAX`).
pub const MAX_NAME: usize = 255;

/// What kind of socket a listener is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListenerKind {
    /// TCP, IPv4 or IPv6.
    Tcp,
    /// UDP: bound, not listening.
    Udp,
    /// A Unix stream socket at a path.
    Unix,
}

impl fmt::Display for ListenerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        })
    }
}

/// A listener as it is announced.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListenerEntry {
    /// Its name, unique within the service.
    pub name: String,
    /// What it is.
    pub kind: ListenerKind,
    /// The bound address (`127.0.0.1:8080`, `[::]:80`, a path); with `:0` resolved.
    pub address: String,
}

/// Why a listener name is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a listener needs a name")]
    Empty,
    /// It is too long.
    #[error("listener name of {found} bytes; at most {MAX_NAME} are allowed")]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// It has a character that `LISTEN_FDNAMES` cannot carry.
    #[error("listener name {name:?} contains {found:?}; use printable ASCII without ':' and '='")]
    BadCharacter {
        /// The name.
        name: String,
        /// The character.
        found: char,
    },
}

/// Checks a listener name against the rules of `LISTEN_FDNAMES` (systemd, `sd_listen_fds(3)`:
/// ASCII, no control characters, no `:`), and forbids `=` so that `-l name=address` is unambiguous.
///
/// # Errors
/// The rule that the name breaks.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong { found: name.len() });
    }
    match name
        .chars()
        .find(|c| !c.is_ascii_graphic() || matches!(c, ':' | '='))
    {
        Some(found) => Err(NameError::BadCharacter {
            name: name.into(),
            found,
        }),
        None => Ok(()),
    }
}
