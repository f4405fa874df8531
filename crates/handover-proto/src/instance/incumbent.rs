//! From ready until gone.

mod parked;

use alloc::collections::VecDeque;
use alloc::string::String;
use core::mem;

use super::{Effect, Identity, Input, Placement, Promotion};
use crate::event::DrainReport;
use crate::identity::{Epoch, HandoverId};
use crate::message::{FromInstance, Role, ToInstance};
use crate::moment::{Machine, Moment};
use crate::settings::Ladder;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Serving {
        lease: Option<Epoch>,
    },
    /// The drain hook runs; new work is refused, the lease is kept.
    Draining {
        id: HandoverId,
        lease: Option<Epoch>,
    },
    Drained {
        id: HandoverId,
        lease: Option<Epoch>,
    },
    /// The seal hook runs. It cannot be interrupted: half a seal is not a state.
    Sealing {
        id: HandoverId,
        lease: Option<Epoch>,
    },
    /// The seal hook runs and its result is no longer wanted.
    SealingInVain {
        id: HandoverId,
        lease: Option<Epoch>,
    },
    /// Parked: no lease, no writes, able to resume.
    Sealed {
        id: HandoverId,
    },
    /// Takes the lease back. `until`: gives up then; absent when a coordinator waits and decides.
    Reclaiming {
        id: HandoverId,
        retry: Option<Moment>,
        until: Option<Moment>,
    },
    /// The resume hook runs.
    Resuming {
        id: HandoverId,
        lease: Option<Epoch>,
    },
    /// The ladder runs; the lease is kept until exit, since requests in flight may write.
    Retiring {
        lease: Option<Epoch>,
    },
    Exited,
}

/// An instance that serves, or has served.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incumbent {
    identity: Identity,
    linked: bool,
    /// Where the first coordinator was.
    placement: Placement,
    state: State,
    effects: VecDeque<Effect>,
}

impl Incumbent {
    /// An instance that serves without a coordinator: it was started by hand.
    #[must_use]
    pub fn alone(identity: Identity, lease: Option<Epoch>) -> Self {
        let promotion = Promotion {
            lease,
            linked: false,
            placement: Placement::Supervisor,
        };
        Self::promoted(identity, promotion, VecDeque::new())
    }

    pub(crate) fn promoted(
        identity: Identity,
        promotion: Promotion,
        effects: VecDeque<Effect>,
    ) -> Self {
        Self {
            identity,
            linked: promotion.linked,
            placement: promotion.placement,
            state: State::Serving {
                lease: promotion.lease,
            },
            effects,
        }
    }

    /// The state's name, for state tables.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Serving { .. } => "Serving",
            State::Draining { .. } => "Draining",
            State::Drained { .. } => "Drained",
            State::Sealing { .. } => "Sealing",
            State::SealingInVain { .. } => "SealingInVain",
            State::Sealed { .. } => "Sealed",
            State::Reclaiming { .. } => "Reclaiming",
            State::Resuming { .. } => "Resuming",
            State::Retiring { .. } => "Retiring",
            State::Exited => "Exited",
        }
    }

    /// The lease it may write under now (I2).
    #[must_use]
    pub fn may_write(&self) -> Option<Epoch> {
        match self.state {
            State::Serving { lease }
            | State::Draining { lease, .. }
            | State::Drained { lease, .. }
            | State::Sealing { lease, .. }
            | State::SealingInVain { lease, .. }
            | State::Resuming { lease, .. }
            | State::Retiring { lease } => lease,
            State::Sealed { .. } | State::Reclaiming { .. } | State::Exited => None,
        }
    }

    /// Whether it takes new work now.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self.state, State::Serving { .. })
    }

    fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    fn send(&mut self, message: FromInstance) {
        if self.linked {
            self.push(Effect::Send(message));
        }
    }

    fn retire(&mut self, ladder: Ladder, lease: Option<Epoch>) -> State {
        self.push(Effect::Retire { ladder });
        State::Retiring { lease }
    }

    fn exit(&mut self) -> State {
        self.push(Effect::Exit { code: 0 });
        State::Exited
    }

    fn serving(&mut self, lease: Option<Epoch>, input: Input) -> State {
        match input {
            Input::Said(ToInstance::Drain { id, within_ms }) => {
                self.push(Effect::Drain { within_ms });
                State::Draining { id, lease }
            }
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, lease),
            // A coordinator that aborts tells us to resume whatever we had begun; nothing was.
            Input::Said(ToInstance::Resume { id }) => {
                self.send(FromInstance::Resumed { id, lease });
                State::Serving { lease }
            }
            Input::Said(ToInstance::Commit { .. }) => {
                self.push(Effect::Committed);
                State::Serving { lease }
            }
            // Dismissed as it became ready, or while in probation: what a signal would be.
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), lease)
            }
            // The channel that comes with an introduction is the driver's.
            Input::Said(
                ToInstance::Welcome { .. }
                | ToInstance::Activate { .. }
                | ToInstance::Seal { .. }
                | ToInstance::Introduce { .. },
            )
            | Input::Closed
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Failed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Serving { lease },
        }
    }

    fn draining(
        &mut self,
        id: HandoverId,
        lease: Option<Epoch>,
        drained: bool,
        input: Input,
    ) -> State {
        let unchanged = if drained {
            State::Drained { id, lease }
        } else {
            State::Draining { id, lease }
        };
        match input {
            Input::Drained { report } if !drained => {
                self.send(FromInstance::Drained { id, report });
                State::Drained { id, lease }
            }
            Input::Said(ToInstance::Seal { id: named }) if drained && named == id => {
                self.push(Effect::Seal);
                State::Sealing { id, lease }
            }
            Input::Said(ToInstance::Resume { id: named }) if named == id => self.resume(id, lease),
            // Nothing was given up, so nobody else can serve: do it at once.
            Input::Closed => self.resume(id, lease),
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, lease),
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), lease)
            }
            Input::Said(_)
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Failed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => unchanged,
        }
    }

    fn sealing(&mut self, id: HandoverId, lease: Option<Epoch>, input: Input) -> State {
        match input {
            // I3: the lease goes only after the seal succeeded, and before anybody is told.
            Input::Sealed => {
                self.push(Effect::Release);
                self.send(FromInstance::Sealed { id });
                State::Sealed { id }
            }
            Input::SealFailed { reason } => {
                self.send(FromInstance::SealFailed { id, reason });
                State::Drained { id, lease }
            }
            Input::Said(ToInstance::Resume { id: named }) if named == id => {
                State::SealingInVain { id, lease }
            }
            Input::Closed => State::SealingInVain { id, lease },
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, lease),
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), lease)
            }
            Input::Said(_)
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Failed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Sealing { id, lease },
        }
    }

    fn sealing_in_vain(&mut self, id: HandoverId, lease: Option<Epoch>, input: Input) -> State {
        match input {
            // The lease was never released, so there is nothing to take back.
            Input::Sealed | Input::SealFailed { .. } => self.resume(id, lease),
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, lease),
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), lease)
            }
            Input::Said(_)
            | Input::Closed
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Failed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::SealingInVain { id, lease },
        }
    }

    fn retiring(&mut self, lease: Option<Epoch>, input: Input) -> State {
        match input {
            Input::Retired { report } => self.retired(report),
            Input::Said(_)
            | Input::Closed
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Failed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Terminate
            | Input::Tick => State::Retiring { lease },
        }
    }

    fn retired(&mut self, report: DrainReport) -> State {
        self.send(FromInstance::Retired { report });
        self.exit()
    }

    /// A channel broke: whoever serves looks for a new coordinator; the others settle first.
    fn note_link(&mut self, input: &Input) {
        match input {
            Input::Closed if self.linked => {
                self.linked = false;
                if self.serves() {
                    // It may have died between readiness and the commit, and nobody else could.
                    if self.placement == Placement::Incumbent {
                        self.push(Effect::Committed);
                    }
                    self.push(Effect::Reconnect);
                }
            }
            // Only an instance that serves may be found by a new coordinator.
            Input::Connected if self.serves() && !self.linked => {
                self.linked = true;
                let lease = self.may_write();
                self.push(Effect::Send(self.identity.hello(Role::Incumbent, lease)));
            }
            _ => {}
        }
    }

    /// Tells a coordinator that the program cannot serve any more.
    fn failed(&mut self, reason: String) {
        self.send(FromInstance::Failed { reason });
    }
}

impl Machine for Incumbent {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Moment, input: Input) {
        self.note_link(&input);
        if let Input::Failed { reason } = &input {
            self.failed(reason.clone());
        }
        self.state = match mem::replace(&mut self.state, State::Exited) {
            State::Serving { lease } => self.serving(lease, input),
            State::Draining { id, lease } => self.draining(id, lease, false, input),
            State::Drained { id, lease } => self.draining(id, lease, true, input),
            State::Sealing { id, lease } => self.sealing(id, lease, input),
            State::SealingInVain { id, lease } => self.sealing_in_vain(id, lease, input),
            State::Sealed { id } => self.sealed(id, now, input),
            State::Reclaiming { id, retry, until } => self.reclaiming(id, retry, until, now, input),
            State::Resuming { id, lease } => self.resuming(id, lease, input),
            State::Retiring { lease } => self.retiring(lease, input),
            State::Exited => State::Exited,
        };
    }

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        match self.state {
            State::Reclaiming { retry, .. } => retry,
            State::Serving { .. }
            | State::Draining { .. }
            | State::Drained { .. }
            | State::Sealing { .. }
            | State::SealingInVain { .. }
            | State::Sealed { .. }
            | State::Resuming { .. }
            | State::Retiring { .. }
            | State::Exited => None,
        }
    }
}
