//! What can happen to a coordinator.

use alloc::string::String;
use core::time::Duration;

use crate::event::Readiness;
use crate::identity::{CandidateId, InstanceId, InstancePid, RequestId};
use crate::message::FromInstance;
use crate::outcome::Exit;
use crate::settings::{Stop, WhenBusy};

/// What can happen to a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Somebody wants this candidate to serve.
    Upgrade {
        /// Whom to answer, if anybody waits.
        request: Option<RequestId>,
        /// What to run.
        candidate: CandidateId,
        /// What if an attempt runs.
        when_busy: WhenBusy,
    },
    /// Somebody wants the running attempt abandoned.
    Cancel,
    /// Somebody wants the instance back that is parked since the last commit. Outside probation
    /// this is refused: [`crate::outcome::Refusal::NothingToUndo`].
    Undo {
        /// Whom to answer, if anybody waits.
        request: Option<RequestId>,
    },
    /// Somebody wants the service stopped.
    Stop {
        /// How.
        how: Stop,
    },
    /// The process runs.
    Spawned {
        /// Which.
        instance: InstanceId,
        /// Its process id.
        pid: InstancePid,
    },
    /// There is no process.
    SpawnFailed {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// The last `Record` is not on disk.
    RecordFailed {
        /// Why.
        reason: String,
    },
    /// A native instance said something.
    Said {
        /// Which.
        instance: InstanceId,
        /// What.
        message: FromInstance,
    },
    /// A native instance's channel broke.
    Closed {
        /// Which.
        instance: InstanceId,
    },
    /// An instance that does not speak the protocol was found ready.
    BecameReady {
        /// Which.
        instance: InstanceId,
        /// How it was found out.
        how: Readiness,
    },
    /// An instance asks for more time (`EXTEND_TIMEOUT_USEC=`).
    Extend {
        /// Which.
        instance: InstanceId,
        /// From now.
        by: Duration,
    },
    /// A process ended.
    Exited {
        /// Which.
        instance: InstanceId,
        /// How.
        exit: Exit,
    },
    /// Time has passed.
    Tick,
}

impl Input {
    /// The input's name, for state tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Upgrade {
                when_busy: WhenBusy::Queue,
                ..
            } => "upgrade",
            Self::Upgrade {
                when_busy: WhenBusy::Supersede,
                ..
            } => "upgrade, supersede",
            Self::Upgrade {
                when_busy: WhenBusy::Fail,
                ..
            } => "upgrade, fail if busy",
            Self::Cancel => "cancel",
            Self::Undo { .. } => "undo",
            Self::Stop { .. } => "stop",
            Self::Spawned { .. } => "(spawned)",
            Self::SpawnFailed { .. } => "(spawn failed)",
            Self::RecordFailed { .. } => "(record failed)",
            Self::Said { message, .. } => message.name(),
            Self::Closed { .. } => "(closed)",
            Self::BecameReady { .. } => "(became ready)",
            Self::Extend { .. } => "(extend)",
            Self::Exited { .. } => "(exited)",
            Self::Tick => "(deadline)",
        }
    }

    /// The instance the input is about.
    #[must_use]
    pub const fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Spawned { instance, .. }
            | Self::SpawnFailed { instance, .. }
            | Self::Said { instance, .. }
            | Self::Closed { instance }
            | Self::BecameReady { instance, .. }
            | Self::Extend { instance, .. }
            | Self::Exited { instance, .. } => Some(*instance),
            Self::Upgrade { .. }
            | Self::Cancel
            | Self::Undo { .. }
            | Self::Stop { .. }
            | Self::RecordFailed { .. }
            | Self::Tick => None,
        }
    }
}
