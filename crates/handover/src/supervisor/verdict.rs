//! How an attempt ended, in words that help: the machine knows that a channel closed or a deadline
//! passed, the driver knows why.

use handover_proto::identity::InstanceId;
use handover_proto::outcome::{Cause, Outcome};
use handover_proto::phase::{Mode, Phase};

use super::driver::Driver;

/// What an instance did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What the protocol asks for.
    pub(super) expected: String,
    /// What it did.
    pub(super) found: String,
}

impl Driver {
    /// The outcome of an attempt to start `successor`, with what the driver knows.
    pub(super) fn explained(&self, successor: Option<InstanceId>, outcome: Outcome) -> Outcome {
        let explain = |cause| self.explain(successor, cause);
        match outcome {
            Outcome::RolledBack { cause } => Outcome::RolledBack {
                cause: explain(cause),
            },
            // A program that can never be ready is not a matter of time.
            Outcome::TimedOut { cause } => match explain(cause) {
                cause @ Cause::TimedOut { .. } => Outcome::TimedOut { cause },
                cause => Outcome::RolledBack { cause },
            },
            Outcome::NobodyServes { cause } => Outcome::NobodyServes {
                cause: explain(cause),
            },
            other => other,
        }
    }

    pub(super) fn explain(&self, successor: Option<InstanceId>, cause: Cause) -> Cause {
        match cause {
            Cause::ChannelClosed { instance, .. } => match self.faults.get(&instance) {
                Some(Fault { expected, found }) => Cause::Violation {
                    instance,
                    expected: expected.clone(),
                    found: found.clone(),
                },
                None => cause,
            },
            Cause::TimedOut {
                phase: Phase::Warm, ..
            }
            | Cause::Violation { .. }
                if successor.is_some_and(|successor| self.is_foreign(successor)) =>
            {
                Cause::NotNative
            }
            Cause::Undone => match &self.unhealthy {
                Some(reason) => Cause::ProbeFailed {
                    reason: reason.clone(),
                },
                None => cause,
            },
            cause => cause,
        }
    }

    /// Whether exclusive mode waits for an instance that does not speak the protocol.
    fn is_foreign(&self, instance: InstanceId) -> bool {
        // With another wire besides, it may have spoken that.
        let native_only = self.config.mode == Mode::Exclusive && self.foreign.is_none();
        native_only && self.processes.contains_key(&instance) && !self.machine.is_native(instance)
    }
}
