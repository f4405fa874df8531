//! Names and numbers.

use alloc::sync::Arc;
use core::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// Longest name of a hub, a node or a kind, in bytes: they appear in metrics labels and file names.
pub const NAME_MAX: usize = 63;

/// Longest id of a process, in bytes.
pub const PROCESS_ID_MAX: usize = 255;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a {what} cannot be empty")]
    Empty {
        /// What it should name.
        what: &'static str,
    },
    /// It has too many bytes.
    #[error("a {what} has at most {max} bytes, this one has {found}")]
    TooLong {
        /// What it should name.
        what: &'static str,
        /// The limit, in bytes.
        max: usize,
        /// Its length, in bytes.
        found: usize,
    },
    /// It contains a control character.
    #[error("a {what} cannot contain the control character {found:?}")]
    Control {
        /// What it should name.
        what: &'static str,
        /// The first such character.
        found: char,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident($text:ty), $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "alloc::string::String", into = "alloc::string::String")]
        pub struct $type($text);

        impl $type {
            /// Checks a text.
            ///
            /// # Errors
            ///
            /// [`NameError`] if it is empty, too long, or has control characters.
            pub fn new(text: &str) -> Result<Self, NameError> {
                Self::check(text)?;
                Ok(Self(<$text>::from(text)))
            }

            /// Whether a text would do.
            ///
            /// # Errors
            ///
            /// Those of [`new`](Self::new).
            pub fn check(text: &str) -> Result<(), NameError> {
                if text.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                if text.len() > $max {
                    return Err(NameError::TooLong { what: $what, max: $max, found: text.len() });
                }
                if let Some(found) = text.chars().find(|c| c.is_control()) {
                    return Err(NameError::Control { what: $what, found });
                }
                Ok(())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl core::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<alloc::string::String> for $type {
            type Error = NameError;

            fn try_from(text: alloc::string::String) -> Result<Self, NameError> {
                Self::new(&text)
            }
        }

        impl From<$type> for alloc::string::String {
            fn from(name: $type) -> Self {
                Self::from(&*name.0)
            }
        }

        impl core::str::FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

name!(
    /// The name of a hub: nodes that run one of the same name are one cluster.
    HubName(Arc<str>), "hub's name", NAME_MAX
);
name!(
    /// The name of a node, unique in its hub at any time.
    NodeName(Arc<str>), "node's name", NAME_MAX
);
name!(
    /// The name of a kind of process: what code runs it.
    KindName(Arc<str>), "kind's name", NAME_MAX
);
name!(
    /// The id of a process, unique in its hub. Up to 24 bytes are kept in place.
    ProcessId(CompactString), "process's id", PROCESS_ID_MAX
);

impl KindName {
    /// A text that was checked before.
    pub(crate) fn trusted(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

/// One run of a hub on one node: drawn at random when it starts, so that a restarted node is
/// another one. A node that hands over to its successor on the same host keeps it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part of all possible process ids; the unit of ownership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

/// How often a shard has changed its owner, as the engine counts: with etcd a revision. Grows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Term(pub u64);

/// The fencing number under which a host runs a process. A higher one ends a lower one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The term of the home that granted it.
    pub term: Term,
    /// Counts what that home granted for this shard.
    pub grant: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term.0, self.grant)
    }
}

/// One call, whoever answers it and however often it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallId {
    /// The node it was made on.
    pub caller: NodeId,
    /// Counts the calls of that node, from 1.
    pub number: u64,
}

/// One attempt to move one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MoveId {
    /// The home that ordered it.
    pub home: NodeId,
    /// Counts the moves ordered by that node, from 1.
    pub number: u64,
}

/// One command given to a node, counted by its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);
