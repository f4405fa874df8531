//! In probation somebody wants the parked instance back. In overlap mode it never stopped serving,
//! so the new one goes. In exclusive mode the new one is drained and sealed like any incumbent,
//! and the parked one resumes. A failure before it has leads back to the new one (I5).

use super::core::Core;
use super::exclusive::{self, Handing, Step};
use super::probation::Probation;
use super::rollback;
use super::{Attempt, Link, Member, State};
use crate::event::EventKind;
use crate::identity::{HandoverId, RequestId};
use crate::message::{FromInstance, ToInstance};
use crate::moment::Moment;
use crate::outcome::{Cause, Outcome, Refusal};
use crate::phase::{Mode, Phase};
use crate::settings::Stop;

/// What an undo knows of the probation it ends, or goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Undo {
    /// The attempt under which the parked instance was sealed; it resumes under no other.
    pub(super) sealed_under: HandoverId,
    /// When the probation is passed.
    pub(super) until: Moment,
}

/// A parked instance that stays parked while the new one resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Parked {
    pub(super) member: Member,
    pub(super) undo: Undo,
}

impl Undo {
    pub(super) fn parked(self, member: Member) -> Parked {
        Parked { member, undo: self }
    }
}

/// Begins: the parked instance is to take back.
pub(super) fn begin(
    core: &mut Core,
    now: Moment,
    probation: Probation,
    request: Option<RequestId>,
) -> State {
    let Probation {
        id,
        incumbent,
        parked,
        deadline,
    } = probation;
    let attempt = core.attempt(now, request);
    core.report(EventKind::HandoverStarted {
        id: attempt.id,
        from: Some(incumbent.instance),
        to: parked.instance,
        candidate: alloc::string::String::new(),
        mode: core.settings.mode,
    });
    if core.settings.mode == Mode::Overlap {
        return undone(core, now, &attempt, parked, Some(incumbent));
    }
    let unlinked = [parked, incumbent]
        .into_iter()
        .find(|member| member.link != Link::Open);
    if let Some(Member { instance, .. }) = unlinked {
        let phase = Phase::Probation;
        let cause = Cause::ChannelClosed { instance, phase };
        core.finish(now, &attempt, Outcome::RolledBack { cause });
        return State::Probation(probation);
    }
    let undo = Undo {
        sealed_under: id,
        until: deadline,
    };
    exclusive::drain(core, now, attempt, parked, incumbent, Some(undo))
}

/// The new instance gave up what it had, or died: the parked one takes back. Without a channel it
/// does so by itself.
pub(super) fn take_back(core: &mut Core, now: Moment, handing: Handing, undo: Undo) -> State {
    handing.enter(core, now);
    let parked = handing.successor;
    let step_deadline = if parked.link == Link::Open {
        let id = undo.sealed_under;
        core.send(parked, ToInstance::Resume { id });
        now + core.settings.resume
    } else {
        rollback::by_itself(core, now)
    };
    State::Handing(Handing {
        step_deadline,
        ..handing
    })
}

/// The new instance died while it resumed after an undo that failed, so nobody else is left.
pub(super) fn alone(core: &mut Core, now: Moment, attempt: Attempt, parked: Parked) -> State {
    let Parked { member, undo } = parked;
    let handing = Handing {
        undo: Some(undo),
        ..Handing::activating(core, now, attempt, member, None)
    };
    take_back(core, now, handing, undo)
}

/// The parked instance serves again: a handover like any other, to an older instance.
pub(super) fn undone(
    core: &mut Core,
    now: Moment,
    attempt: &Attempt,
    parked: Member,
    new: Option<Member>,
) -> State {
    core.generation = core.generation.next();
    core.take_back(parked.candidate);
    if let Some(new) = new {
        core.leaving.dismiss(new, Stop::Drain);
    }
    core.record(now, Phase::Serving, None, Some(parked), None, None);
    let instance = parked.instance;
    let cause = Cause::Undone;
    core.report(EventKind::TakenBack { instance, cause });
    let generation = core.generation;
    core.finish(
        now,
        attempt,
        Outcome::Committed {
            generation,
            instance,
        },
    );
    core.serve(now, parked)
}

/// The new instance resumed after an undo that failed: its probation goes on.
pub(super) fn failed(
    core: &mut Core,
    now: Moment,
    attempt: &Attempt,
    new: Member,
    parked: Parked,
    cause: Cause,
) -> State {
    let Parked { member, undo } = parked;
    core.record(now, Phase::Probation, None, Some(new), None, Some(member));
    core.finish(now, attempt, rollback::outcome(cause));
    let probation = Probation {
        id: undo.sealed_under,
        incumbent: new,
        parked: member,
        deadline: undo.until,
    };
    if core.queued.is_some() {
        return probation.passed(core, now);
    }
    core.report(EventKind::PhaseEntered {
        id: attempt.id,
        phase: Phase::Probation,
    });
    State::Probation(probation)
}

impl Handing {
    /// Whether a parked instance takes back, or is about to by itself.
    pub(super) fn takes_back(&self) -> bool {
        self.undo.is_some() && self.step == Step::Activating
    }

    /// The answer to somebody who wants an undo while this runs.
    pub(super) fn refusal(&self) -> Refusal {
        let phase = self.phase();
        match self.undo {
            Some(_) => Refusal::Busy { phase },
            None => Refusal::NothingToUndo,
        }
    }

    pub(super) fn parked_said(
        self,
        core: &mut Core,
        now: Moment,
        undo: Undo,
        message: FromInstance,
    ) -> State {
        let parked = self.successor;
        let instance = parked.instance;
        match message {
            FromInstance::Resumed { id, .. } if self.takes_back() && id == undo.sealed_under => {
                undone(core, now, &self.attempt, parked, self.incumbent)
            }
            // Without a channel it found the lease free; whoever gave it up goes.
            FromInstance::Hello { lease: Some(_), .. } => {
                core.reconnected(parked);
                undone(core, now, &self.attempt, parked, self.incumbent)
            }
            FromInstance::Status { text } | FromInstance::Failed { reason: text } => {
                core.report(EventKind::InstanceStatus { instance, text });
                State::Handing(self)
            }
            // Of another attempt, or out of turn: changes nothing (I13).
            FromInstance::Hello { .. }
            | FromInstance::Warmed
            | FromInstance::Ready { .. }
            | FromInstance::Drained { .. }
            | FromInstance::SealProgress { .. }
            | FromInstance::Sealed { .. }
            | FromInstance::SealFailed { .. }
            | FromInstance::Resumed { .. }
            | FromInstance::Extend { .. }
            | FromInstance::Connections { .. }
            | FromInstance::Retired { .. } => State::Handing(self),
        }
    }
}
