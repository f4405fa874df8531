//! What a coordinator and a native instance say to each other, as values; [`crate::frame`] has
//! the bytes. A message that belongs to an attempt carries its id, and one with another id
//! changes nothing (I13).

use alloc::string::String;
use alloc::vec::Vec;

use crate::event::DrainReport;
use crate::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use crate::phase::Mode;
use crate::settings::Ladder;

/// Which part an instance plays when it greets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Role {
    /// It waits to take over.
    Successor,
    /// It serves; its coordinator was replaced.
    Incumbent,
}

/// From an instance to its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FromInstance {
    /// First frame of a connection.
    Hello {
        /// Its number, from its environment.
        instance: InstanceId,
        /// Its own process id; must be the one that was spawned.
        pid: InstancePid,
        /// Its part.
        role: Role,
        /// Oldest protocol version it speaks.
        oldest: u16,
        /// Newest protocol version it speaks.
        newest: u16,
        /// The lease it holds, if any.
        lease: Option<Epoch>,
    },
    /// Exclusive: all that needs no ownership is done.
    Warmed,
    /// It serves.
    Ready {
        /// Listeners it claimed by name.
        claimed: Vec<String>,
        /// Exclusive: the lease it took.
        lease: Option<Epoch>,
    },
    /// Drained; it can be sealed.
    Drained {
        /// The attempt.
        id: HandoverId,
        /// What the drain achieved.
        report: DrainReport,
    },
    /// Progress of a seal.
    SealProgress {
        /// The attempt.
        id: HandoverId,
        /// Done so far.
        done: u64,
        /// Of so many; zero if unknown.
        total: u64,
    },
    /// Sealed; the lease is released.
    Sealed {
        /// The attempt.
        id: HandoverId,
    },
    /// It could not seal; it still holds its lease.
    SealFailed {
        /// The attempt.
        id: HandoverId,
        /// Why.
        reason: String,
    },
    /// It serves again.
    Resumed {
        /// The attempt.
        id: HandoverId,
        /// Exclusive: the lease it holds, of a higher number if it had been released.
        lease: Option<Epoch>,
    },
    /// It cannot go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// Something for people.
    Status {
        /// Its words.
        text: String,
    },
    /// It needs more time for what it does.
    Extend {
        /// Milliseconds from now.
        millis: u64,
    },
    /// Connections open now.
    Connections {
        /// How many.
        open: u64,
    },
    /// Its retirement is over; it exits next.
    Retired {
        /// What the drain achieved.
        report: DrainReport,
    },
}

/// From a coordinator to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ToInstance {
    /// Answer to a greeting.
    Welcome {
        /// The protocol version both will speak.
        version: u16,
        /// Overlap or exclusive.
        mode: Mode,
        /// Whether somebody serves now, so that giving up is safe.
        incumbent: bool,
        /// An [`Introduce`](Self::Introduce) follows; do not warm before it.
        introduced: bool,
    },
    /// Take the lease and serve.
    Activate {
        /// The attempt.
        id: HandoverId,
        /// Whether the predecessor sealed its state, rather than died.
        sealed: bool,
    },
    /// It is the incumbent now.
    Commit {
        /// The attempt.
        id: HandoverId,
    },
    /// Stop taking new work, finish what is there, stay able to resume.
    Drain {
        /// The attempt.
        id: HandoverId,
        /// At most this long, in milliseconds.
        within_ms: u64,
    },
    /// Flush, snapshot, release the lease; stay able to resume.
    Seal {
        /// The attempt.
        id: HandoverId,
    },
    /// Take back what was given up and serve.
    Resume {
        /// The attempt.
        id: HandoverId,
    },
    /// Drain by the ladder and exit.
    Retire {
        /// The ladder.
        ladder: Ladder,
    },
    /// Exclusive: one end of a channel to the other instance of the attempt comes with this
    /// frame, attached to its first byte; [`crate::state`] has what is said on it.
    Introduce {
        /// The attempt.
        id: HandoverId,
    },
    /// The attempt is over without this instance; whoever served before serves on. What SIGTERM
    /// is to a process that can be signalled, to one that took over from another namespace.
    /// A coordinator in the incumbent says it before it closes a successor's channel: a channel
    /// that closes without it means that the incumbent is gone.
    Dismiss {
        /// Why, for people.
        reason: String,
    },
}

impl FromInstance {
    /// The message's name, for tables and violations.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::Warmed => "Warmed",
            Self::Ready { .. } => "Ready",
            Self::Drained { .. } => "Drained",
            Self::SealProgress { .. } => "SealProgress",
            Self::Sealed { .. } => "Sealed",
            Self::SealFailed { .. } => "SealFailed",
            Self::Resumed { .. } => "Resumed",
            Self::Failed { .. } => "Failed",
            Self::Status { .. } => "Status",
            Self::Extend { .. } => "Extend",
            Self::Connections { .. } => "Connections",
            Self::Retired { .. } => "Retired",
        }
    }
}

impl ToInstance {
    /// The message's name, for tables and violations.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "Welcome",
            Self::Activate { .. } => "Activate",
            Self::Commit { .. } => "Commit",
            Self::Drain { .. } => "Drain",
            Self::Seal { .. } => "Seal",
            Self::Resume { .. } => "Resume",
            Self::Retire { .. } => "Retire",
            Self::Introduce { .. } => "Introduce",
            Self::Dismiss { .. } => "Dismiss",
        }
    }
}
