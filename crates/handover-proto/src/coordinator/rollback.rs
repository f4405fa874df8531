//! The way back: the successor's end is awaited, then the incumbent takes back.

use super::core::Core;
use super::undo::{self, Parked};
use super::{Attempt, Input, Link, Member, Signal, State, stopping};
use crate::event::EventKind;
use crate::identity::InstanceId;
use crate::instance::RECLAIM_WITHIN;
use crate::message::{FromInstance, Role, ToInstance};
use crate::moment::Moment;
use crate::outcome::{Cause, Exit, Outcome, Refusal};
use crate::phase::Phase;
use crate::settings::Stop;

/// The successor is being killed; it may hold the lease until it is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Aborting {
    pub(super) attempt: Attempt,
    pub(super) successor: Member,
    pub(super) incumbent: Option<Member>,
    pub(super) cause: Cause,
}

/// The incumbent takes back what it gave up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Resuming {
    /// Absent when an instance takes back after a probation that failed.
    pub(super) attempt: Option<Attempt>,
    pub(super) id: crate::identity::HandoverId,
    pub(super) incumbent: Member,
    cause: Cause,
    /// After an undo that failed: who stays parked.
    pub(super) parked: Option<Parked>,
    /// Absent once the incumbent is being killed for not coming back.
    pub(super) deadline: Option<Moment>,
}

pub(super) fn abort(core: &mut Core, now: Moment, aborting: Aborting) -> State {
    core.enter(
        now,
        Phase::Abort,
        &aborting.attempt,
        aborting.incumbent,
        aborting.successor,
    );
    core.signal(aborting.successor, Signal::Kill);
    State::Aborting(aborting)
}

pub(super) fn resume(
    core: &mut Core,
    now: Moment,
    attempt: Attempt,
    incumbent: Member,
    parked: Option<Parked>,
    cause: Cause,
) -> State {
    core.record(
        now,
        Phase::Resume,
        Some(attempt.id),
        Some(incumbent),
        None,
        parked.map(|parked| parked.member),
    );
    core.report(EventKind::PhaseEntered {
        id: attempt.id,
        phase: Phase::Resume,
    });
    let deadline = if incumbent.link == Link::Open {
        core.send(incumbent, ToInstance::Resume { id: attempt.id });
        now + core.settings.resume
    } else {
        by_itself(core, now)
    };
    State::Resuming(Resuming {
        attempt: Some(attempt),
        id: attempt.id,
        incumbent,
        cause,
        parked,
        deadline: Some(deadline),
    })
}

/// How an attempt ended that changed nothing.
pub(super) fn outcome(cause: Cause) -> Outcome {
    match cause {
        Cause::TimedOut { .. } => Outcome::TimedOut { cause },
        cause => Outcome::RolledBack { cause },
    }
}

/// Without a channel an incumbent resumes by itself, and then looks for the coordinator.
pub(super) fn by_itself(core: &Core, now: Moment) -> Moment {
    now + RECLAIM_WITHIN + core.settings.resume
}

/// A parked instance takes back after the new one failed in probation.
pub(super) fn take_back(
    core: &mut Core,
    now: Moment,
    id: crate::identity::HandoverId,
    incumbent: Member,
    cause: Cause,
) -> State {
    core.record(now, Phase::Resume, Some(id), Some(incumbent), None, None);
    core.send(incumbent, ToInstance::Resume { id });
    let deadline = Some(now + core.settings.resume);
    State::Resuming(Resuming {
        attempt: None,
        id,
        incumbent,
        cause,
        parked: None,
        deadline,
    })
}

impl Aborting {
    pub(super) fn handle(self, core: &mut Core, now: Moment, input: Input) -> State {
        let incumbent = self.incumbent.map(|incumbent| incumbent.instance);
        match input {
            Input::Exited { instance, exit } if instance == self.successor.instance => {
                core.crashed(instance, exit);
                match self.incumbent {
                    Some(incumbent) => resume(core, now, self.attempt, incumbent, None, self.cause),
                    None => core.lost(now, self.cause, Some(&self.attempt)),
                }
            }
            Input::Exited { instance, exit } if Some(instance) == incumbent => {
                core.crashed(instance, exit);
                State::Aborting(Self {
                    incumbent: None,
                    ..self
                })
            }
            Input::Upgrade {
                request,
                candidate,
                when_busy,
            } => {
                core.busy(Phase::Abort, request, candidate, when_busy);
                State::Aborting(self)
            }
            Input::Stop { how } => {
                let how = how.max(Stop::Fast);
                stopping::interrupt(
                    core,
                    now,
                    how,
                    &self.attempt,
                    self.incumbent,
                    [self.successor],
                )
            }
            Input::Undo { request } => {
                core.refuse(request, Refusal::NothingToUndo);
                State::Aborting(self)
            }
            Input::RecordFailed { reason } => {
                core.unrecorded(&reason);
                State::Aborting(self)
            }
            Input::Cancel
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. }
            | Input::Tick => State::Aborting(self),
        }
    }
}

impl Resuming {
    pub(super) fn handle(mut self, core: &mut Core, now: Moment, input: Input) -> State {
        let resuming = self.incumbent.instance;
        match input {
            Input::Said {
                instance,
                message: FromInstance::Resumed { id, .. },
            } if instance == resuming && id == self.id => self.resumed(core, now),
            Input::Said {
                instance,
                message:
                    FromInstance::Hello {
                        role: Role::Incumbent,
                        ..
                    },
            } if instance == resuming => {
                core.reconnected(self.incumbent);
                self.resumed(core, now)
            }
            Input::Closed { instance } if instance == resuming => {
                let deadline = self.deadline.map(|_| by_itself(core, now));
                State::Resuming(Self { deadline, ..self })
            }
            Input::Extend { instance, by } if instance == resuming => {
                let deadline = self.deadline.map(|deadline| deadline.max(now + by));
                State::Resuming(Self { deadline, ..self })
            }
            Input::Exited { instance, exit } if instance == resuming => {
                core.crashed(instance, exit);
                self.died(core, now, exit)
            }
            Input::Exited { instance, exit } if self.is_parked(instance) => {
                core.crashed(instance, exit);
                self.parked = None;
                State::Resuming(self)
            }
            Input::Said {
                instance,
                message: FromInstance::Hello { lease: Some(_), .. },
            } if self.is_parked(instance) => self.parked_took_back(core, now),
            Input::Tick if self.deadline.is_some_and(|deadline| now >= deadline) => {
                self.killed(core)
            }
            Input::Upgrade {
                request,
                candidate,
                when_busy,
            } => {
                core.busy(Phase::Resume, request, candidate, when_busy);
                State::Resuming(self)
            }
            Input::Stop { how } => self.stop(core, now, how),
            Input::Undo { request } => {
                core.refuse(request, Refusal::NothingToUndo);
                State::Resuming(self)
            }
            Input::RecordFailed { reason } => {
                core.unrecorded(&reason);
                State::Resuming(self)
            }
            Input::Cancel
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. }
            | Input::Tick => State::Resuming(self),
        }
    }

    fn died(self, core: &mut Core, now: Moment, exit: Exit) -> State {
        match (self.parked, self.attempt) {
            (Some(parked), Some(attempt)) => undo::alone(core, now, attempt, parked),
            _ => core.lost(now, Cause::Crashed { exit }, self.attempt.as_ref()),
        }
    }

    fn killed(self, core: &mut Core) -> State {
        let instance = self.incumbent.instance;
        core.signal(self.incumbent, Signal::Kill);
        core.report(EventKind::InstanceKilled { instance });
        State::Resuming(Self {
            deadline: None,
            ..self
        })
    }

    fn stop(self, core: &mut Core, now: Moment, how: Stop) -> State {
        let parked = self.parked.map(|parked| parked.member);
        let serving = Some(self.incumbent);
        match self.attempt {
            Some(attempt) => stopping::interrupt(core, now, how, &attempt, serving, parked),
            None => stopping::begin(core, now, how, parked.into_iter().chain(serving)),
        }
    }

    fn is_parked(&self, instance: InstanceId) -> bool {
        self.parked
            .is_some_and(|parked| parked.member.instance == instance)
    }

    /// Without a channel the parked instance found the lease before this one took it back.
    fn parked_took_back(self, core: &mut Core, now: Moment) -> State {
        match (self.parked, self.attempt) {
            (Some(Parked { member, .. }), Some(attempt)) => {
                core.reconnected(member);
                undo::undone(core, now, &attempt, member, Some(self.incumbent))
            }
            _ => State::Resuming(self),
        }
    }

    fn resumed(self, core: &mut Core, now: Moment) -> State {
        if let (Some(parked), Some(attempt)) = (self.parked, self.attempt) {
            return undo::failed(core, now, &attempt, self.incumbent, parked, self.cause);
        }
        match self.attempt {
            Some(attempt) => core.rolled_back(now, &attempt, self.incumbent, self.cause),
            None => {
                let instance = self.incumbent.instance;
                core.record(now, Phase::Serving, None, Some(self.incumbent), None, None);
                core.report(EventKind::TakenBack {
                    instance,
                    cause: self.cause,
                });
                core.serve(now, self.incumbent)
            }
        }
    }
}
