//! Why a process does not fit into the next program.

use handover_hub_proto::identity::{KindName, ProcessId};

/// Why a process cannot be left to a successor, or be taken over by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is at a message, or is being moved.
    #[error("{process} is busy")]
    Busy {
        /// Which.
        process: ProcessId,
    },
    /// The successor does not run its kind, or no version of its state.
    #[error("{process} is of kind {kind}, which the new program does not know")]
    Kind {
        /// Which.
        process: ProcessId,
        /// Its kind.
        kind: KindName,
    },
    /// The successor does not read the version of its state that is written.
    #[error(
        "the state of {process} has version {found}, the new program reads {oldest} to {newest} of kind {kind}"
    )]
    Schema {
        /// Which.
        process: ProcessId,
        /// Its kind.
        kind: KindName,
        /// The version that was written.
        found: u32,
        /// The lowest version that is read.
        oldest: u32,
        /// The highest.
        newest: u32,
    },
    /// One of its hooks said so, or panicked.
    #[error("{process}: {reason}")]
    Hook {
        /// Which.
        process: ProcessId,
        /// What it said.
        reason: String,
    },
    /// What was written of it cannot be read.
    #[error("what was left of {process} cannot be read: {reason}")]
    Unreadable {
        /// Which.
        process: ProcessId,
        /// What the decoder said.
        reason: String,
    },
}
