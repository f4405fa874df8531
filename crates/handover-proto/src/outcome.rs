//! How an attempt ended, and why.

use alloc::string::String;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::identity::{Generation, InstanceId};
use crate::phase::Phase;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It is gone; it was not our child, so the kernel does not say how.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::Unknown => f.write_str("ended (how is unknown: it was not our child)"),
        }
    }
}

/// Why an attempt did not commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "cause")]
pub enum Cause {
    /// The program could not be started at all.
    #[error("the new version could not be started: {reason}")]
    SpawnFailed {
        /// The kernel's or the preflight's reason.
        reason: String,
    },
    /// It ended before it was ready.
    #[error("the new version {exit} before it was ready")]
    ExitedBeforeReady {
        /// How it ended.
        exit: Exit,
    },
    /// A phase outlasted its deadline.
    #[error("{phase} was not over after {allowed:?}")]
    TimedOut {
        /// The phase.
        phase: Phase,
        /// The time it had.
        allowed: Duration,
    },
    /// Nobody could serve for longer than the budget allows.
    #[error("the dark window exceeded its budget of {budget:?}")]
    TooDark {
        /// The budget.
        budget: Duration,
    },
    /// The successor says that it cannot go on.
    #[error("the new version gave up: {reason}")]
    SuccessorFailed {
        /// Its words.
        reason: String,
    },
    /// The incumbent could not seal.
    #[error("the serving instance could not seal: {reason}")]
    SealFailed {
        /// Its words.
        reason: String,
    },
    /// A native channel broke while it was needed.
    #[error("the control channel of instance {instance} closed during {phase}")]
    ChannelClosed {
        /// Whose channel.
        instance: InstanceId,
        /// When.
        phase: Phase,
    },
    /// A peer broke the protocol.
    #[error("instance {instance} broke the protocol: expected {expected}, found {found}")]
    Violation {
        /// Who.
        instance: InstanceId,
        /// What the protocol asks for.
        expected: String,
        /// What arrived.
        found: String,
    },
    /// It was ready, and in probation it stopped answering. Filled in by the driver.
    #[error("the new version failed its probe in probation: {reason}")]
    ProbeFailed {
        /// What was asked and what came of it.
        reason: String,
    },
    /// Exclusive mode, and a program without the library. Filled in by the driver.
    #[error(
        "the new version does not speak the native protocol, without which nobody can tell when \
         the data is free: build it with the handover library and `Instance::own`, or run the \
         service without --exclusive if two versions may own the data at once"
    )]
    NotNative,
    /// The journal could not be written, so nothing irrevocable was begun.
    #[error("the journal could not be written: {reason}")]
    JournalFailed {
        /// The reason.
        reason: String,
    },
    /// A newer request replaced this one.
    #[error("a newer request took its place")]
    Superseded,
    /// Somebody asked for the attempt to be abandoned.
    #[error("it was cancelled on request")]
    Cancelled,
    /// Somebody wanted the instance before it back while it was in probation.
    #[error("it was undone on request")]
    Undone,
    /// The service is being stopped.
    #[error("the service is being stopped")]
    Stopping,
    /// The program ended while it served.
    #[error("the serving instance {exit}")]
    Crashed {
        /// How it ended.
        exit: Exit,
    },
}

/// Why a request was not even begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "refusal")]
pub enum Refusal {
    /// An attempt runs and the request asked not to wait.
    #[error("another handover is running (phase {phase})")]
    Busy {
        /// Its phase.
        phase: Phase,
    },
    /// A newer queued request took its place.
    #[error("a newer request took its place in the queue")]
    Superseded,
    /// The service is being stopped.
    #[error("the service is being stopped")]
    Stopping,
    /// The candidate failed the preflight.
    #[error("preflight: {reason}")]
    Preflight {
        /// What is wrong with it.
        reason: String,
    },
    /// No instance is parked that could take back.
    #[error(
        "nothing to undo: no new version is in probation, so no old instance is parked; \
         `handover rollback` hands over to the previous version"
    )]
    NothingToUndo,
    /// There is nothing to go back to.
    #[error("no previous version to go back to: {reason}")]
    NoPrevious {
        /// Why.
        reason: String,
    },
}

/// How an attempt ended. Its exit code is part of the public contract.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// The new instance serves.
    Committed {
        /// Its generation.
        generation: Generation,
        /// The instance.
        instance: InstanceId,
    },
    /// The old instance serves on.
    RolledBack {
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Nothing was begun; whoever served before serves on.
    Refused {
        /// Why.
        #[serde(flatten)]
        refusal: Refusal,
    },
    /// A deadline passed; the old instance serves on.
    TimedOut {
        /// Which.
        #[serde(flatten)]
        cause: Cause,
    },
    /// Nobody serves.
    NobodyServes {
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
}

impl Outcome {
    /// The exit code of a command that waited for this outcome: 0 committed, 10 rolled back,
    /// 11 refused, 12 timed out with the old instance serving, 13 nobody serves.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Committed { .. } => 0,
            Self::RolledBack { .. } => 10,
            Self::Refused { .. } => 11,
            Self::TimedOut { .. } => 12,
            Self::NobodyServes { .. } => 13,
        }
    }

    /// One word for tables: `committed`, `rolled back`, `refused`, `timed out`, `nobody serves`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::RolledBack { .. } => "rolled back",
            Self::Refused { .. } => "refused",
            Self::TimedOut { .. } => "timed out",
            Self::NobodyServes { .. } => "nobody serves",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed {
                generation,
                instance,
            } => {
                write!(f, "committed: {generation} serves (instance {instance})")
            }
            Self::RolledBack { cause } => {
                write!(f, "rolled back: {cause}; the old instance serves")
            }
            Self::Refused { refusal } => write!(f, "refused: {refusal}; nothing was changed"),
            Self::TimedOut { cause } => write!(f, "timed out: {cause}; the old instance serves"),
            Self::NobodyServes { cause } => write!(f, "nobody serves: {cause}"),
        }
    }
}
