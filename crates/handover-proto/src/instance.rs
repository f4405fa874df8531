//! The machines inside a service: [`Successor`] until it is ready, [`Incumbent`] from then on.
//!
//! Both share one set of inputs and effects, so that a driver is written once. [`Instance`] is
//! what a driver holds: it turns a successor that became ready into an incumbent.

mod incumbent;
mod successor;

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::event::DrainReport;
use crate::identity::{Epoch, InstanceId, InstancePid};
use crate::message::{FromInstance, Role, ToInstance};
use crate::moment::{Machine, Moment};
use crate::phase::Mode;
use crate::settings::Ladder;

pub use incumbent::Incumbent;
pub use successor::{Placement, Successor};

/// Oldest and newest protocol version these machines speak.
pub const VERSIONS: core::ops::RangeInclusive<u16> =
    crate::frame::VERSION_OLDEST..=crate::frame::VERSION_NEWEST;

/// How long a coordinator may take to answer a greeting: it is on the same host and answers from
/// its event loop, so this is generous.
pub const WELCOME_WITHIN: Duration = Duration::from_secs(5);

/// How long an instance without a coordinator tries for a lease that is held, before it concludes
/// that another one serves (beyond-handoff 0.1.4 waits as long).
pub const RECLAIM_WITHIN: Duration = Duration::from_secs(2);

/// How long a sealed instance that lost its coordinator stands by for a lease that the successor
/// holds: twice the time an activation may take by default. If the successor dies or is killed in
/// that time, whether by a new coordinator or not, the lease is free and somebody is there to take
/// it with all that was in memory.
pub const STAND_BY_FOR: Duration = Duration::from_secs(120);

/// Pause between two tries at a lease after [`RECLAIM_WITHIN`] of standing by.
pub const STAND_BY_EVERY: Duration = Duration::from_millis(250);

/// Pause between two tries at a lease that is held.
pub const RECLAIM_EVERY: Duration = Duration::from_millis(20);

/// What can happen to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The coordinator said something.
    Said(ToInstance),
    /// The channel to the coordinator broke.
    Closed,
    /// A channel to a (new) coordinator is open.
    Connected,
    /// The program did all that needs no ownership. In overlap mode this is its readiness.
    Warmed {
        /// Listeners it claimed by name.
        claimed: Vec<String>,
        /// How it wants to serve. A coordinator's welcome has said the same; this counts where the
        /// coordinator died before it.
        mode: Mode,
    },
    /// The program cannot go on.
    Failed {
        /// Why.
        reason: String,
    },
    /// The lease is ours.
    LeaseAcquired {
        /// Its number.
        epoch: Epoch,
    },
    /// Somebody else holds the lease.
    LeaseBusy,
    /// The activate hook is done: the program serves.
    Activated,
    /// The drain hook is done.
    Drained {
        /// What it achieved.
        report: DrainReport,
    },
    /// The seal hook is done; everything is on its way.
    Sealed,
    /// The seal hook failed; nothing was given up.
    SealFailed {
        /// Why.
        reason: String,
    },
    /// The resume hook is done.
    Resumed,
    /// The retirement is over.
    Retired {
        /// What it achieved.
        report: DrainReport,
    },
    /// Somebody asks it to go (SIGTERM).
    Terminate,
    /// Time has passed.
    Tick,
}

/// What an instance wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send this to the coordinator.
    Send(FromInstance),
    /// Try to open a channel to a new coordinator, until one is open.
    Reconnect,
    /// Run the warm hook; answer `Warmed` or `Failed`.
    Warm,
    /// Take the lease; answer `LeaseAcquired` or `LeaseBusy`.
    Acquire,
    /// Run the activate hook; answer `Activated` or `Failed`.
    Activate {
        /// The lease.
        lease: Epoch,
        /// Whether a sealed state arrives with it.
        sealed: bool,
    },
    /// Run the drain hook; answer `Drained`.
    Drain {
        /// At most this long, in milliseconds.
        within_ms: u64,
    },
    /// Run the seal hook; answer `Sealed` or `SealFailed`.
    Seal,
    /// Give the lease up (I3: only ever after `Sealed`).
    Release,
    /// Run the resume hook; answer `Resumed`.
    Resume {
        /// The lease, in exclusive mode.
        lease: Option<Epoch>,
    },
    /// The successor serves: stay parked, or retire by what follows.
    Committed,
    /// Drain by the ladder; answer `Retired`.
    Retire {
        /// The ladder.
        ladder: Ladder,
    },
    /// End the process with this code.
    Exit {
        /// The code: 0 when retired.
        code: u8,
    },
}

impl Input {
    /// The input's name, for state tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Said(message) => message.name(),
            Self::Closed => "(closed)",
            Self::Connected => "(connected)",
            Self::Warmed { .. } => "(warmed)",
            Self::Failed { .. } => "(failed)",
            Self::LeaseAcquired { .. } => "(lease acquired)",
            Self::LeaseBusy => "(lease busy)",
            Self::Activated => "(activated)",
            Self::Drained { .. } => "(drained)",
            Self::Sealed => "(sealed)",
            Self::SealFailed { .. } => "(seal failed)",
            Self::Resumed => "(resumed)",
            Self::Retired { .. } => "(retired)",
            Self::Terminate => "(terminate)",
            Self::Tick => "(deadline)",
        }
    }
}

impl Effect {
    /// The effect's name, for state tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Send(message) => message.name(),
            Self::Reconnect => "reconnect",
            Self::Warm => "warm",
            Self::Acquire => "acquire lease",
            Self::Activate { .. } => "activate",
            Self::Drain { .. } => "drain",
            Self::Seal => "seal",
            Self::Release => "release lease",
            Self::Resume { .. } => "resume",
            Self::Committed => "committed",
            Self::Retire { .. } => "retire",
            Self::Exit { .. } => "exit",
        }
    }
}

/// Who an instance is; the same for all its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its number.
    pub instance: InstanceId,
    /// Its process id.
    pub pid: InstancePid,
}

impl Identity {
    fn hello(self, role: Role, lease: Option<Epoch>) -> FromInstance {
        FromInstance::Hello {
            instance: self.instance,
            pid: self.pid,
            role,
            oldest: *VERSIONS.start(),
            newest: *VERSIONS.end(),
            lease,
        }
    }
}

/// What a successor leaves behind when it becomes ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Promotion {
    /// Its lease, in exclusive mode.
    lease: Option<Epoch>,
    /// Whether the channel to the coordinator is open.
    linked: bool,
    placement: Placement,
}

/// An instance through its whole life.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Instance {
    /// Not yet ready.
    Successor(Successor),
    /// Ready.
    Incumbent(Incumbent),
}

impl Instance {
    /// The state's name, for state tables.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self {
            Self::Successor(machine) => machine.state_name(),
            Self::Incumbent(machine) => machine.state_name(),
        }
    }

    /// The lease it may write under now, if any (I2).
    #[must_use]
    pub fn may_write(&self) -> Option<Epoch> {
        match self {
            Self::Successor(machine) => machine.may_write(),
            Self::Incumbent(machine) => machine.may_write(),
        }
    }

    /// Whether it takes new work now.
    #[must_use]
    pub fn serves(&self) -> bool {
        match self {
            Self::Successor(_) => false,
            Self::Incumbent(machine) => machine.serves(),
        }
    }
}

impl Machine for Instance {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        match self {
            Self::Successor(machine) => {
                machine.handle(now, input);
                if let Some(incumbent) = machine.promote() {
                    *self = Self::Incumbent(incumbent);
                }
            }
            Self::Incumbent(machine) => machine.handle(now, input),
        }
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        match self {
            Self::Successor(machine) => machine.poll_effect(),
            Self::Incumbent(machine) => machine.poll_effect(),
        }
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self {
            Self::Successor(machine) => machine.next_deadline(),
            Self::Incumbent(machine) => machine.next_deadline(),
        }
    }
}
