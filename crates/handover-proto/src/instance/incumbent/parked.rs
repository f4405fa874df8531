//! Without a lease, able to take it back: alone, or told to.

use core::time::Duration;

use super::{Incumbent, State};
use crate::identity::{Epoch, HandoverId};
use crate::instance::{Effect, Input, RECLAIM_EVERY, RECLAIM_WITHIN, STAND_BY_EVERY, STAND_BY_FOR};
use crate::message::{FromInstance, ToInstance};
use crate::moment::Moment;
use crate::settings::Ladder;

/// How long to wait before the next try: short while the coordinator may only be restarting, long
/// while somebody else serves.
fn pause(now: Moment, until: Option<Moment>) -> Duration {
    let left = until.map(|until| until.since(now));
    match left {
        Some(left) if left + RECLAIM_WITHIN < STAND_BY_FOR => STAND_BY_EVERY,
        Some(_) | None => RECLAIM_EVERY,
    }
}

impl Incumbent {
    pub(super) fn resume(&mut self, id: HandoverId, lease: Option<Epoch>) -> State {
        self.push(Effect::Resume { lease });
        State::Resuming { id, lease }
    }

    pub(super) fn reclaim(&mut self, id: HandoverId, until: Option<Moment>) -> State {
        self.push(Effect::Acquire);
        State::Reclaiming {
            id,
            retry: None,
            until,
        }
    }

    pub(super) fn sealed(&mut self, id: HandoverId, now: Moment, input: Input) -> State {
        match input {
            Input::Said(ToInstance::Resume { id: named }) if named == id => self.reclaim(id, None),
            // The successor may or may not have been activated: the lease knows (I1, I12).
            Input::Closed => self.reclaim(id, Some(now + STAND_BY_FOR)),
            Input::Said(ToInstance::Commit { id: named }) if named == id => {
                self.push(Effect::Committed);
                State::Sealed { id }
            }
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, None),
            // Responses may be in flight that need no lease.
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), None)
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
            | Input::Tick => State::Sealed { id },
        }
    }

    pub(super) fn reclaiming(
        &mut self,
        id: HandoverId,
        retry: Option<Moment>,
        until: Option<Moment>,
        now: Moment,
        input: Input,
    ) -> State {
        match input {
            Input::LeaseAcquired { epoch } => self.resume(id, Some(epoch)),
            // Without a coordinator: the successor has it, and it serves.
            Input::LeaseBusy if until.is_some_and(|until| now >= until) => {
                self.retire(Ladder::default(), None)
            }
            Input::LeaseBusy => {
                let at = now + pause(now, until);
                State::Reclaiming {
                    id,
                    retry: Some(until.map_or(at, |until| at.min(until))),
                    until,
                }
            }
            Input::Tick if retry.is_some_and(|at| now >= at) => self.reclaim(id, until),
            Input::Closed if until.is_none() => State::Reclaiming {
                id,
                retry,
                until: Some(now + STAND_BY_FOR),
            },
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, None),
            // Responses may be in flight that need no lease.
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), None)
            }
            Input::Said(_)
            | Input::Closed
            | Input::Connected
            | Input::Warmed { .. }
            | Input::Failed { .. }
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Resumed
            | Input::Retired { .. }
            | Input::Tick => State::Reclaiming { id, retry, until },
        }
    }

    pub(super) fn resuming(&mut self, id: HandoverId, lease: Option<Epoch>, input: Input) -> State {
        match input {
            Input::Resumed => {
                self.send(FromInstance::Resumed { id, lease });
                if !self.linked {
                    self.push(Effect::Reconnect);
                }
                State::Serving { lease }
            }
            Input::Said(ToInstance::Retire { ladder }) => self.retire(ladder, lease),
            Input::Terminate | Input::Said(ToInstance::Dismiss { .. }) => {
                self.retire(Ladder::default(), lease)
            }
            Input::Failed { .. } => {
                self.push(Effect::Exit { code: 1 });
                State::Exited
            }
            Input::Said(_)
            | Input::Closed
            | Input::Connected
            | Input::Warmed { .. }
            | Input::LeaseAcquired { .. }
            | Input::LeaseBusy
            | Input::Activated
            | Input::Drained { .. }
            | Input::Sealed
            | Input::SealFailed { .. }
            | Input::Retired { .. }
            | Input::Tick => State::Resuming { id, lease },
        }
    }
}
