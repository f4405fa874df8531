//! One process of the world: a native instance or a program that knows nothing of us, its channel
//! to the coordinator, and what is on its way to it.

use std::collections::VecDeque;

use handover_proto::event::DrainReport;
use handover_proto::identity::{Epoch, InstanceId, InstancePid};
use handover_proto::instance::{self, Instance};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::Machine;
use handover_proto::outcome::Exit;
use handover_proto::phase::Mode;

/// A hook that runs. A program runs one at a time: a new one replaces the one before, as the
/// library drops a drain that is overtaken by a resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// All that needs no ownership.
    Warm,
    /// Open for writing.
    Activate,
    /// Finish what is there.
    Drain,
    /// Flush and snapshot.
    Seal,
    /// Take back.
    Resume,
    /// The ladder.
    Retire,
}

impl Hook {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm hook",
            Self::Activate => "activate hook",
            Self::Drain => "drain hook",
            Self::Seal => "seal hook",
            Self::Resume => "resume hook",
            Self::Retire => "retire hook",
        }
    }

    /// What the machine is told when the hook is done.
    pub(crate) fn done(self, mode: Mode) -> instance::Input {
        let report = DrainReport::default();
        match self {
            Self::Warm => instance::Input::Warmed {
                claimed: Vec::new(),
                mode,
            },
            Self::Activate => instance::Input::Activated,
            Self::Drain => instance::Input::Drained { report },
            Self::Seal => instance::Input::Sealed,
            Self::Resume => instance::Input::Resumed,
            Self::Retire => instance::Input::Retired { report },
        }
    }

    /// What the machine is told when the hook fails, for those that can.
    pub(crate) fn failed(self) -> Option<instance::Input> {
        let reason = String::from("hook");
        match self {
            Self::Warm | Self::Activate | Self::Resume => Some(instance::Input::Failed { reason }),
            Self::Seal => Some(instance::Input::SealFailed { reason }),
            Self::Drain | Self::Retire => None,
        }
    }
}

/// What runs in a process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The machines of the protocol, and the effect to execute next.
    Native {
        /// The machine.
        machine: Box<Instance>,
        /// Its next effect.
        next: Option<Box<instance::Effect>>,
        /// The hook that runs.
        hook: Option<Hook>,
        /// Whether the last seal hook succeeded and nothing followed it (I3).
        sealed: bool,
        /// Whether it looks for a coordinator to connect to.
        reconnects: bool,
    },
    /// A program that knows nothing of us.
    Foreign {
        /// Whether it takes work.
        ready: bool,
        /// Whether the coordinator found out.
        found: bool,
        /// Whether it was told to go and drains.
        draining: bool,
        /// Whether what it does now never ends.
        hung: bool,
    },
}

impl Program {
    /// An instance of ours, its first effect fetched.
    pub(crate) fn native(mut machine: Instance) -> Self {
        let next = machine.poll_effect().map(Box::new);
        Self::Native {
            machine: Box::new(machine),
            next,
            hook: None,
            sealed: false,
            reconnects: false,
        }
    }
}

/// One end of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum End {
    /// Open, as far as its owner knows.
    #[default]
    Open,
    /// The other end is gone; its owner reads what is left, then that.
    Closing,
    /// Its owner is gone, or knows.
    Closed,
}

/// A channel: what is in flight each way, and its ends. Like a Unix stream socket, it delivers
/// what was sent before the other end closed. A new one is opened when both ends of the old one
/// know that it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    pub(crate) to_instance: VecDeque<ToInstance>,
    pub(crate) to_coordinator: VecDeque<FromInstance>,
    pub(crate) coordinator_end: End,
    pub(crate) instance_end: End,
}

impl End {
    pub(crate) fn close_by_other(&mut self) {
        if *self == Self::Open {
            *self = Self::Closing;
        }
    }
}

impl Link {
    /// Both ends live and the channel is no more; what was in flight is lost.
    pub(crate) fn snap(&mut self) {
        self.to_coordinator.clear();
        self.to_instance.clear();
        self.coordinator_end.close_by_other();
        self.instance_end.close_by_other();
    }

    /// The instance ended; what it had sent can still be read.
    pub(crate) fn lose_instance(&mut self) {
        self.to_instance.clear();
        self.instance_end = End::Closed;
        self.coordinator_end.close_by_other();
    }

    /// The coordinator ended; what it had sent can still be read.
    pub(crate) fn lose_coordinator(&mut self) {
        self.to_coordinator.clear();
        self.coordinator_end = End::Closed;
        self.instance_end.close_by_other();
    }

    /// The coordinator has said all it will, and only waits for the instance's end.
    pub(crate) fn say_no_more(&mut self) {
        self.instance_end.close_by_other();
    }

    /// Whether both ends know that it is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.instance_end == End::Closed && self.coordinator_end == End::Closed
    }

    pub(crate) fn coordinator_hears(&self) -> bool {
        !self.to_coordinator.is_empty() || self.coordinator_end == End::Closing
    }

    pub(crate) fn instance_hears_next(&self) -> Option<&ToInstance> {
        self.to_instance.front()
    }

    pub(crate) fn instance_hears(&self) -> bool {
        !self.to_instance.is_empty() || self.instance_end == End::Closing
    }
}

/// A process, until its coordinator knows that it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number.
    pub instance: InstanceId,
    /// What runs in it.
    pub program: Program,
    /// Its channel, if one is open at either end.
    pub link: Option<Link>,
    /// SIGTERM is pending.
    pub(crate) term: bool,
    /// SIGKILL is on its way; the process may still take steps.
    pub(crate) kill: bool,
    /// How it ended, until the coordinator observes it.
    pub ended: Option<Exit>,
}

/// Process ids are made from instance numbers; nothing depends on their values.
pub(crate) fn pid(instance: InstanceId) -> InstancePid {
    InstancePid(
        u32::try_from(instance.0)
            .unwrap_or(u32::MAX)
            .saturating_add(100),
    )
}

impl Process {
    /// A process that was just started.
    pub(crate) const fn new(instance: InstanceId, program: Program, link: Option<Link>) -> Self {
        Self {
            instance,
            program,
            link,
            term: false,
            kill: false,
            ended: None,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether it takes new work.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.alive()
            && match &self.program {
                Program::Native { machine, .. } => machine.serves(),
                Program::Foreign {
                    ready, draining, ..
                } => *ready && !*draining,
            }
    }

    /// The epoch it believes it may write under.
    #[must_use]
    pub fn may_write(&self) -> Option<Epoch> {
        match &self.program {
            Program::Native { machine, .. } if self.alive() => machine.may_write(),
            Program::Native { .. } | Program::Foreign { .. } => None,
        }
    }

    /// The state of its machine, for traces.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &self.program {
            Program::Native { machine, .. } => machine.state_name(),
            Program::Foreign { draining: true, .. } => "draining",
            Program::Foreign { ready: true, .. } => "ready",
            Program::Foreign { .. } => "starting",
        }
    }

    /// The effect its machine wants executed next.
    #[must_use]
    pub(crate) fn next(&self) -> Option<&instance::Effect> {
        match &self.program {
            Program::Native { next, .. } if self.alive() => next.as_deref(),
            Program::Native { .. } | Program::Foreign { .. } => None,
        }
    }

    pub(crate) fn hook(&self) -> Option<Hook> {
        match &self.program {
            Program::Native { hook, .. } if self.alive() => *hook,
            Program::Native { .. } | Program::Foreign { .. } => None,
        }
    }

    /// Whether it is doing something that might never end.
    pub(crate) fn can_hang(&self) -> bool {
        match self.program {
            Program::Native { hook, .. } => hook.is_some(),
            Program::Foreign {
                ready,
                draining,
                hung,
                ..
            } => !hung && (draining || !ready),
        }
    }

    pub(crate) fn reconnects(&self) -> bool {
        matches!(
            self.program,
            Program::Native {
                reconnects: true,
                ..
            }
        ) && self.alive()
    }

    /// Whether the instance knows that it has no channel.
    pub(crate) fn unlinked(&self) -> bool {
        self.link
            .as_ref()
            .is_none_or(|link| link.instance_end == End::Closed)
    }

    /// Whether it is told to go, or was, and nothing else will be said.
    pub(crate) fn is_dismissed(&self) -> bool {
        let open = |link: &Link| link.instance_end == End::Open;
        self.link.as_ref().is_some_and(|link| !open(link))
    }

    pub(crate) fn deadline(&self) -> Option<handover_proto::moment::Moment> {
        match &self.program {
            Program::Native { machine, .. } if self.alive() => machine.next_deadline(),
            Program::Native { .. } | Program::Foreign { .. } => None,
        }
    }

    /// Whether it waits for a lease that somebody else holds.
    pub(crate) fn reclaims(&self) -> bool {
        matches!(self.state_name(), "Reclaiming" | "Acquiring")
    }
}
