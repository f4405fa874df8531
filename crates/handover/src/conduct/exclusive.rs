//! What is done for an owner of data.

use std::os::fd::OwnedFd;
use std::time::Duration;

use handover_proto::identity::HandoverId;
use handover_proto::instance::{Effect, Input, Instance, Successor};
use tokio::sync::oneshot;

use super::readiness::{Asker, Readiness, Refusal};
use super::{Conduct, Surroundings};
use crate::error::ReadyError;
use crate::exclusive::OwnError;
use crate::exclusive::owner::{Owner, Step};
use crate::ledger::lock;
use crate::state::channel::Side;

impl<S: Surroundings> Conduct<S> {
    /// The program wants to be the owner of its data.
    pub(super) fn own(&mut self, owner: Box<Owner>, answer: oneshot::Sender<Result<(), OwnError>>) {
        if matches!(self.readiness, Readiness::Waiting) {
            self.owner = Some(owner);
            if !self.supervised {
                let alone = Successor::alone(self.identity);
                self.machine = Instance::Successor(alone);
            }
        }
        self.ask(Asker::Own(answer));
    }

    /// Begins with the warm hook, and the base before it if one comes.
    pub(super) fn warm_owner(&mut self) {
        let introduced = self.said.is_some_and(|welcome| welcome.introduced);
        let Some(owner) = &mut self.owner else { return };
        self.warming = false;
        owner.warm(introduced);
        if let Some((id, socket)) = self.introduction.take() {
            owner.introduced(id, socket, Side::Successor);
        }
    }

    /// The coordinator opened a channel to the other instance of an attempt.
    pub(super) fn introduced(&mut self, id: HandoverId, socket: Option<OwnedFd>) {
        let side = match self.machine {
            Instance::Successor(_) => Side::Successor,
            Instance::Incumbent(_) => Side::Incumbent,
        };
        match &mut self.owner {
            Some(owner) => owner.introduced(id, socket, side),
            // Whoever becomes no owner closes it with everything else it has.
            None => self.introduction = Some((id, socket)),
        }
    }

    /// The coordinator is gone: an introduction that did not come yet never will.
    pub(super) fn uninvited(&mut self) {
        if let Some(welcome) = &mut self.said {
            welcome.introduced &= self.introduction.is_some();
        }
        if let Some(owner) = &mut self.owner {
            owner.uninvited();
        }
    }

    /// Holds writers back; without an owner there are none.
    pub(super) fn drain_owner(&mut self, within: Duration) {
        if let Some(owner) = &mut self.owner {
            owner.drain(within);
        }
    }

    /// Carries out what only an owner can. Without one a coordinator errs: nobody told it that
    /// there is an owner.
    pub(super) fn execute_owners(&mut self, effect: Effect) {
        let Some(owner) = &mut self.owner else {
            self.inputs.extend(match effect {
                Effect::Acquire => Some(Input::LeaseBusy),
                Effect::Activate { .. } => Some(Input::Failed {
                    reason: ReadyError::Exclusive.to_string(),
                }),
                Effect::Seal => Some(Input::SealFailed {
                    reason: "this instance has no state to seal".into(),
                }),
                _ => None,
            });
            return;
        };
        match effect {
            Effect::Acquire => {
                let tried = owner.acquire();
                self.inputs.push_back(tried);
            }
            Effect::Activate { sealed, .. } => owner.activate(sealed),
            // Their successor has no channel for it, and would serve without.
            Effect::Seal if self.surroundings.is_beyond() && owner.requires().is_some() => {
                let item = owner.requires().unwrap_or_default();
                let reason = format!(
                    "item {item:?} is required and beyond-handoff has no channel for state"
                );
                self.inputs.push_back(Input::SealFailed { reason });
            }
            Effect::Seal => owner.seal(),
            Effect::Release => owner.release(),
            _ => {}
        }
    }

    /// Does what the owner wants done next.
    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Input(Input::Warmed { mode, .. }) => {
                let claimed = lock(&self.core.pool).claimed();
                self.inputs.push_back(Input::Warmed { claimed, mode });
            }
            Step::Input(input) => self.inputs.push_back(input),
            Step::Say(message) => self.surroundings.send(&message),
            Step::Resumed => self.resumed(),
            Step::Closed(report) => self.retired(report),
            Step::Ended(code) => {
                // It has nothing left: no service, no lease.
                let owner = self.owner.take();
                self.reason = match (self.ending.take(), owner) {
                    (Some(Refusal::Busy), Some(owner)) => Some(Refusal::Own(owner.busy())),
                    (reason, _) => reason,
                };
                self.exit(code);
            }
        }
    }

    /// A seal whose result is not wanted any more need not wait for its state to go out.
    pub(super) fn note_abort(&mut self) {
        if let Some(owner) = &mut self.owner
            && owner.flushes()
            && self.machine.state_name() != "Sealing"
        {
            owner.give_up_flush();
        }
    }
}
