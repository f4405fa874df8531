//! Phases of the contract, and the two modes of walking through them.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Whether old and new may serve at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Stateless: both share the listener, drain follows commit.
    #[default]
    Overlap,
    /// One owner of data: drain and seal come before activate.
    Exclusive,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// No attempt runs.
    Serving,
    /// The successor does all that needs no ownership; in overlap mode it also becomes ready here.
    Warm,
    /// The incumbent finishes what it has.
    Drain,
    /// The incumbent flushes, snapshots and gives up its lease.
    Seal,
    /// The successor takes the lease and opens for writing.
    Activate,
    /// The old instance stays parked until the new one has proven itself.
    Probation,
    /// A failed successor is being removed.
    Abort,
    /// The incumbent takes back what it gave up.
    Resume,
    /// Nobody serves; a start is due.
    Vacant,
    /// The service is being stopped.
    Stop,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "serving",
            Self::Warm => "warm",
            Self::Drain => "drain",
            Self::Seal => "seal",
            Self::Activate => "activate",
            Self::Probation => "probation",
            Self::Abort => "abort",
            Self::Resume => "resume",
            Self::Vacant => "vacant",
            Self::Stop => "stop",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlap => "overlap",
            Self::Exclusive => "exclusive",
        })
    }
}
