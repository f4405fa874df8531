//! After commit the old instance stays able to take back: in overlap mode it goes on serving, in
//! exclusive mode it is parked without a lease.

use super::core::Core;
use super::{Input, Link, Member, State, rollback, stopping, undo};
use crate::event::EventKind;
use crate::identity::HandoverId;
use crate::moment::Moment;
use crate::outcome::Cause;
use crate::phase::{Mode, Phase};
use crate::settings::Stop;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Probation {
    /// The attempt that was committed; the parked instance was sealed under it.
    pub(super) id: HandoverId,
    pub(super) incumbent: Member,
    pub(super) parked: Member,
    pub(super) deadline: Moment,
}

pub(super) fn begin(
    core: &mut Core,
    now: Moment,
    id: HandoverId,
    incumbent: Member,
    parked: Member,
) -> State {
    core.report(EventKind::PhaseEntered {
        id,
        phase: Phase::Probation,
    });
    State::Probation(Probation {
        id,
        incumbent,
        parked,
        deadline: now + core.settings.probation,
    })
}

impl Probation {
    pub(super) fn handle(self, core: &mut Core, now: Moment, input: Input) -> State {
        let (new, old) = (self.incumbent.instance, self.parked.instance);
        match input {
            Input::Tick if now >= self.deadline => self.passed(core, now),
            Input::Exited { instance, exit } if instance == new => {
                core.crashed(instance, exit);
                self.failed(core, now, Cause::Crashed { exit })
            }
            Input::Exited { instance, exit } if instance == old => {
                core.crashed(instance, exit);
                core.record(now, Phase::Serving, None, Some(self.incumbent), None, None);
                core.serve(now, self.incumbent)
            }
            Input::Said { instance, message } if instance == new => {
                core.said_while_serving(self.incumbent, message);
                State::Probation(self)
            }
            Input::Said { instance, message } if instance == old => {
                core.said_while_serving(self.parked, message);
                State::Probation(self)
            }
            Input::Upgrade {
                request,
                candidate,
                when_busy,
            } => {
                if core.busy(Phase::Probation, request, candidate, when_busy) {
                    return self.passed(core, now);
                }
                State::Probation(self)
            }
            Input::Undo { request } => undo::begin(core, now, self, request),
            Input::Stop { how } => stopping::begin(core, now, how, [self.parked, self.incumbent]),
            Input::RecordFailed { reason } => {
                core.unrecorded(&reason);
                State::Probation(self)
            }
            Input::Tick
            | Input::Cancel
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. } => State::Probation(self),
        }
    }

    pub(super) fn passed(self, core: &mut Core, now: Moment) -> State {
        core.leaving.dismiss(self.parked, Stop::Drain);
        core.record(now, Phase::Serving, None, Some(self.incumbent), None, None);
        core.serve(now, self.incumbent)
    }

    fn failed(self, core: &mut Core, now: Moment, cause: Cause) -> State {
        let Self { id, parked, .. } = self;
        core.take_back(parked.candidate);
        match core.settings.mode {
            // It never stopped serving.
            Mode::Overlap => {
                core.record(now, Phase::Serving, None, Some(parked), None, None);
                core.report(EventKind::TakenBack {
                    instance: parked.instance,
                    cause,
                });
                core.serve(now, parked)
            }
            Mode::Exclusive if parked.link == Link::Open => {
                rollback::take_back(core, now, id, parked, cause)
            }
            // It cannot be told, so it goes and a fresh one starts.
            Mode::Exclusive => {
                core.leaving.dismiss(parked, Stop::Fast);
                core.lost(now, cause, None)
            }
        }
    }
}

impl Core {
    /// The version before is the current one again.
    pub(super) fn take_back(&mut self, candidate: crate::identity::CandidateId) {
        if candidate != self.current {
            self.current = candidate;
            self.previous = None;
        }
    }
}
