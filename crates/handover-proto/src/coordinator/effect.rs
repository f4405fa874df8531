//! What a coordinator wants done.

use crate::event::EventKind;
use crate::identity::{CandidateId, InstanceId, RequestId};
use crate::journal::Record;
use crate::message::ToInstance;
use crate::outcome::Outcome;

/// A signal to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM, or the program's own stop signal.
    Term,
    /// SIGKILL.
    Kill,
}

/// What a coordinator wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make this the last record of the journal.
    Record(Record),
    /// Start a process.
    Spawn {
        /// Its number.
        instance: InstanceId,
        /// What to run.
        candidate: CandidateId,
    },
    /// Say this to a native instance.
    Send {
        /// To whom.
        to: InstanceId,
        /// What.
        message: ToInstance,
    },
    /// Signal a process.
    Signal {
        /// Which.
        to: InstanceId,
        /// How.
        signal: Signal,
    },
    /// Tell everybody.
    Report(EventKind),
    /// Answer a request.
    Finish {
        /// Which.
        request: RequestId,
        /// With what.
        outcome: Outcome,
    },
    /// The coordinator is done. Code 0 when stopped, 13 when nobody serves.
    Exit {
        /// The process's exit code.
        code: u8,
    },
}

impl Effect {
    /// The effect's name, for state tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Record(_) => "record",
            Self::Spawn { .. } => "spawn",
            Self::Send { message, .. } => message.name(),
            Self::Signal {
                signal: Signal::Term,
                ..
            } => "terminate",
            Self::Signal {
                signal: Signal::Kill,
                ..
            } => "kill",
            Self::Report(kind) => kind.name(),
            Self::Finish { .. } => "answer",
            Self::Exit { .. } => "exit",
        }
    }
}
