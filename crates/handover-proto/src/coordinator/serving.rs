//! Steady: one instance serves, nothing is under way.

use alloc::vec::Vec;

use super::core::Core;
use super::{Input, Member, State, stopping};
use crate::event::EventKind;
use crate::identity::InstanceId;
use crate::message::FromInstance;
use crate::moment::Moment;
use crate::outcome::{Cause, Exit, Refusal};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Serving {
    pub(super) incumbent: Member,
}

impl Serving {
    pub(super) fn handle(self, core: &mut Core, now: Moment, input: Input) -> State {
        let Self { incumbent } = self;
        match input {
            Input::Upgrade {
                request,
                candidate,
                when_busy: _,
            } => core.begin(now, candidate, request, Some(incumbent)),
            Input::Stop { how } => stopping::begin(core, now, how, [incumbent]),
            Input::Exited { instance, exit } if instance == incumbent.instance => {
                core.crashed(instance, exit);
                core.lost(now, Cause::Crashed { exit }, None)
            }
            Input::Said { instance, message } if instance == incumbent.instance => {
                core.said_while_serving(incumbent, message);
                State::Serving(self)
            }
            Input::Undo { request } => {
                core.refuse(request, Refusal::NothingToUndo);
                State::Serving(self)
            }
            Input::RecordFailed { reason } => {
                core.unrecorded(&reason);
                State::Serving(self)
            }
            Input::Cancel
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. }
            | Input::Tick => State::Serving(self),
        }
    }
}

impl Core {
    /// Tells everybody that an instance ended without being asked to.
    pub(super) fn crashed(&mut self, instance: InstanceId, exit: Exit) {
        self.report(EventKind::InstanceExited {
            instance,
            exit,
            expected: false,
            last_words: Vec::new(),
        });
    }

    /// A journal that cannot be written is a reason to begin nothing, not to stop serving.
    pub(super) fn unrecorded(&mut self, reason: &str) {
        self.report(EventKind::Warning {
            text: alloc::format!(
                "the journal could not be written ({reason}); a supervisor that replaces this one \
                 will have to find its instances without it"
            ),
        });
    }

    /// What an incumbent may say at any time outside its part in an attempt.
    pub(super) fn said_while_serving(&mut self, incumbent: Member, message: FromInstance) {
        let instance = incumbent.instance;
        match message {
            FromInstance::Hello { .. } => self.reconnected(incumbent),
            FromInstance::Status { text } => {
                self.report(EventKind::InstanceStatus { instance, text });
            }
            FromInstance::Failed { reason } => {
                self.report(EventKind::InstanceStatus {
                    instance,
                    text: reason,
                });
            }
            FromInstance::Warmed
            | FromInstance::Ready { .. }
            | FromInstance::Drained { .. }
            | FromInstance::SealProgress { .. }
            | FromInstance::Sealed { .. }
            | FromInstance::SealFailed { .. }
            | FromInstance::Resumed { .. }
            | FromInstance::Extend { .. }
            | FromInstance::Connections { .. }
            | FromInstance::Retired { .. } => {}
        }
    }
}
