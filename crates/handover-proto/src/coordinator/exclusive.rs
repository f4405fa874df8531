//! One owner of data: drain and seal the incumbent, then activate the successor. Until the
//! successor is ready every failure leads back to the incumbent (I5); once the incumbent is dead
//! the successor is the only way forward (I11).

use alloc::string::{String, ToString};

use super::core::Core;
use super::rollback::{self, Aborting};
use super::undo::{self, Parked, Undo};
use super::{Attempt, Input, Member, State, stopping};
use crate::event::{EventKind, Readiness};
use crate::identity::InstanceId;
use crate::message::{FromInstance, ToInstance};
use crate::moment::Moment;
use crate::outcome::Cause;
use crate::phase::Phase;
use crate::settings::{Settings, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Draining,
    Sealing,
    Activating,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handing {
    pub(super) step: Step,
    pub(super) attempt: Attempt,
    pub(super) successor: Member,
    /// Absent once it died; then it holds no lease.
    pub(super) incumbent: Option<Member>,
    pub(super) step_deadline: Moment,
    /// Back to the parked instance, which is the successor then.
    pub(super) undo: Option<Undo>,
}

/// Asks the incumbent to finish what it has. The dark window begins.
pub(super) fn drain(
    core: &mut Core,
    now: Moment,
    attempt: Attempt,
    successor: Member,
    incumbent: Member,
    undo: Option<Undo>,
) -> State {
    let handing = Handing {
        step: Step::Draining,
        attempt: Attempt {
            dark_since: Some(now),
            ..attempt
        },
        successor,
        incumbent: Some(incumbent),
        step_deadline: now + core.settings.drain,
        undo,
    };
    handing.enter(core, now);
    // A drain that outlasts the dark window's budget is of no use; its hook may plan for that.
    let drain = core.settings.drain;
    let within = core.settings.max_dark.map_or(drain, |most| most.min(drain));
    let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
    let id = attempt.id;
    core.send(incumbent, ToInstance::Drain { id, within_ms });
    State::Handing(handing)
}

/// Tells the successor to take the lease and serve.
pub(super) fn activate(core: &mut Core, now: Moment, handing: Handing, sealed: bool) -> State {
    let handing = Handing {
        step: Step::Activating,
        step_deadline: now + core.settings.activate,
        ..handing
    };
    if let Some(undo) = handing.undo {
        return undo::take_back(core, now, handing, undo);
    }
    handing.enter(core, now);
    core.send(
        handing.successor,
        ToInstance::Activate {
            id: handing.attempt.id,
            sealed,
        },
    );
    State::Handing(handing)
}

impl Handing {
    pub(super) fn activating(
        core: &Core,
        now: Moment,
        attempt: Attempt,
        successor: Member,
        incumbent: Option<Member>,
    ) -> Self {
        let step_deadline = now + core.settings.activate;
        Self {
            step: Step::Activating,
            attempt,
            successor,
            incumbent,
            step_deadline,
            undo: None,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match (self.step, self.undo) {
            (Step::Draining, None) => "Draining",
            (Step::Sealing, None) => "Sealing",
            (Step::Activating, None) => "Activating",
            (Step::Draining, Some(_)) => "UndoDraining",
            (Step::Sealing, Some(_)) => "UndoSealing",
            (Step::Activating, Some(_)) => "UndoResuming",
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match (self.step, self.undo) {
            (Step::Draining, _) => Phase::Drain,
            (Step::Sealing, _) => Phase::Seal,
            (Step::Activating, None) => Phase::Activate,
            (Step::Activating, Some(_)) => Phase::Resume,
        }
    }

    /// Names its phase, in the journal and to everybody.
    pub(super) fn enter(&self, core: &mut Core, now: Moment) {
        self.record(core, now);
        core.report(EventKind::PhaseEntered {
            id: self.attempt.id,
            phase: self.phase(),
        });
    }

    /// An instance that takes back is recorded as the incumbent, and who gave up as parked.
    pub(super) fn record(&self, core: &mut Core, now: Moment) {
        let (phase, id) = (self.phase(), Some(self.attempt.id));
        let (old, new) = (self.incumbent, Some(self.successor));
        match (self.undo, self.step) {
            (None, _) => core.record(now, phase, id, old, new, None),
            (Some(_), Step::Activating) => core.record(now, phase, id, new, None, old),
            (Some(_), _) => core.record(now, phase, id, old, None, new),
        }
    }

    /// The step's own, or the end of the dark window's budget if that comes first. The budget
    /// binds only while there is an incumbent to go back to.
    pub(super) fn deadline(&self, settings: &Settings) -> Moment {
        self.budget_end(settings)
            .map_or(self.step_deadline, |end| end.min(self.step_deadline))
    }

    fn budget_end(&self, settings: &Settings) -> Option<Moment> {
        self.incumbent?;
        Some(self.attempt.dark_since? + settings.max_dark?)
    }

    fn is_incumbent(&self, instance: InstanceId) -> bool {
        self.incumbent
            .is_some_and(|incumbent| incumbent.instance == instance)
    }

    pub(super) fn handle(self, core: &mut Core, now: Moment, input: Input) -> State {
        match input {
            Input::Said { instance, message } if instance == self.successor.instance => {
                self.successor_said(core, now, message)
            }
            Input::Said { instance, message } if self.is_incumbent(instance) => {
                self.incumbent_said(core, now, message)
            }
            Input::Exited { instance, exit } if instance == self.successor.instance => {
                core.crashed(instance, exit);
                self.back(core, now, Cause::ExitedBeforeReady { exit }, None)
            }
            Input::Exited { instance, exit } if self.is_incumbent(instance) => {
                core.crashed(instance, exit);
                self.incumbent_died(core, now)
            }
            Input::Closed { instance } if instance == self.successor.instance => {
                self.successor_closed(core, now)
            }
            Input::Closed { instance } if self.is_incumbent(instance) => {
                self.incumbent_closed(core, now)
            }
            Input::Extend { instance, by }
                if instance == self.successor.instance || self.is_incumbent(instance) =>
            {
                let step_deadline = self.step_deadline.max(now + by);
                State::Handing(Self {
                    step_deadline,
                    ..self
                })
            }
            Input::Tick => self.tick(core, now),
            Input::Upgrade {
                request,
                candidate,
                when_busy,
            } => {
                if core.busy(self.phase(), request, candidate, when_busy) {
                    return self.abort(core, now, Cause::Superseded);
                }
                State::Handing(self)
            }
            Input::Cancel => self.abort(core, now, Cause::Cancelled),
            Input::Stop { how } => {
                let Self {
                    attempt,
                    incumbent,
                    successor,
                    ..
                } = self;
                stopping::interrupt(core, now, how, &attempt, incumbent, [successor])
            }
            Input::Undo { request } => {
                core.refuse(request, self.refusal());
                State::Handing(self)
            }
            Input::RecordFailed { reason } => self.unrecorded(core, now, reason),
            Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. } => State::Handing(self),
        }
    }

    fn unrecorded(self, core: &mut Core, now: Moment, reason: String) -> State {
        if self.takes_back() {
            // Whoever recovers from the record before finds the same two, and does the same.
            core.unrecorded(&reason);
            return State::Handing(self);
        }
        core.withhold(&reason);
        self.abort(core, now, Cause::JournalFailed { reason })
    }

    fn successor_closed(self, core: &mut Core, now: Moment) -> State {
        if self.takes_back() {
            let step_deadline = rollback::by_itself(core, now);
            return State::Handing(Self {
                step_deadline,
                ..self
            });
        }
        let (instance, phase) = (self.successor.instance, self.phase());
        self.abort(core, now, Cause::ChannelClosed { instance, phase })
    }

    fn successor_said(self, core: &mut Core, now: Moment, message: FromInstance) -> State {
        if let Some(undo) = self.undo {
            return self.parked_said(core, now, undo, message);
        }
        let instance = self.successor.instance;
        match (self.step, message) {
            (Step::Activating, FromInstance::Ready { .. }) => {
                core.report(EventKind::InstanceReady {
                    instance,
                    how: Readiness::Native,
                });
                core.commit(now, &self.attempt, self.successor, self.incumbent)
            }
            (_, FromInstance::Failed { reason }) => {
                self.abort(core, now, Cause::SuccessorFailed { reason })
            }
            (_, FromInstance::Status { text }) => {
                core.report(EventKind::InstanceStatus { instance, text });
                State::Handing(self)
            }
            (_, FromInstance::Extend { .. } | FromInstance::Connections { .. }) => {
                State::Handing(self)
            }
            (Step::Draining | Step::Sealing, message @ FromInstance::Ready { .. })
            | (
                _,
                message @ (FromInstance::Hello { .. }
                | FromInstance::Warmed
                | FromInstance::Drained { .. }
                | FromInstance::SealProgress { .. }
                | FromInstance::Sealed { .. }
                | FromInstance::SealFailed { .. }
                | FromInstance::Resumed { .. }
                | FromInstance::Retired { .. }),
            ) => {
                let expected = "Ready, and only after Activate".to_string();
                let found = message.name().to_string();
                self.abort(
                    core,
                    now,
                    Cause::Violation {
                        instance,
                        expected,
                        found,
                    },
                )
            }
        }
    }

    fn incumbent_said(self, core: &mut Core, now: Moment, message: FromInstance) -> State {
        let current = self.attempt.id;
        match (self.step, message) {
            (Step::Draining, FromInstance::Drained { id, report }) if id == current => {
                self.drained(core, now, report)
            }
            (Step::Sealing, FromInstance::Sealed { id }) if id == current => {
                activate(core, now, self, true)
            }
            (Step::Sealing, FromInstance::SealFailed { id, reason }) if id == current => {
                self.abort(core, now, Cause::SealFailed { reason })
            }
            (Step::Activating, FromInstance::Hello { lease: Some(_), .. }) => {
                self.taken_back(core, now)
            }
            (Step::Sealing, FromInstance::SealProgress { id, done, total }) if id == current => {
                if let Some(Member { instance, .. }) = self.incumbent {
                    core.report(EventKind::SealProgress {
                        instance,
                        done,
                        total,
                    });
                }
                State::Handing(self)
            }
            // Of another attempt, or out of turn: changes nothing (I13).
            (
                _,
                FromInstance::Hello { .. }
                | FromInstance::Warmed
                | FromInstance::Ready { .. }
                | FromInstance::Drained { .. }
                | FromInstance::SealProgress { .. }
                | FromInstance::Sealed { .. }
                | FromInstance::SealFailed { .. }
                | FromInstance::Resumed { .. }
                | FromInstance::Failed { .. }
                | FromInstance::Status { .. }
                | FromInstance::Extend { .. }
                | FromInstance::Connections { .. }
                | FromInstance::Retired { .. },
            ) => State::Handing(self),
        }
    }

    fn drained(self, core: &mut Core, now: Moment, report: crate::event::DrainReport) -> State {
        let Some(incumbent) = self.incumbent else {
            return State::Handing(self);
        };
        core.report(EventKind::InstanceDrained {
            instance: incumbent.instance,
            report,
        });
        let sealing = Self {
            step: Step::Sealing,
            step_deadline: now + core.settings.seal,
            ..self
        };
        sealing.enter(core, now);
        let id = sealing.attempt.id;
        core.send(incumbent, ToInstance::Seal { id });
        State::Handing(sealing)
    }

    /// The kernel freed its lease with it, whether it had sealed or not (I11).
    fn incumbent_died(self, core: &mut Core, now: Moment) -> State {
        let handing = Self {
            incumbent: None,
            ..self
        };
        match handing.step {
            Step::Draining | Step::Sealing => activate(core, now, handing, false),
            Step::Activating => {
                handing.record(core, now);
                State::Handing(handing)
            }
        }
    }

    /// An incumbent without a channel takes back what it gave up, by itself.
    fn incumbent_closed(self, core: &mut Core, now: Moment) -> State {
        match (self.step, self.incumbent) {
            (Step::Draining | Step::Sealing, Some(incumbent)) => {
                let cause = Cause::ChannelClosed {
                    instance: incumbent.instance,
                    phase: self.phase(),
                };
                let parked = self.dismissed(core);
                rollback::resume(core, now, self.attempt, incumbent, parked, cause)
            }
            // The lease decides between the two; the loser goes.
            _ => State::Handing(self),
        }
    }

    /// Without a channel the incumbent took its lease back before the successor took it, and now
    /// it is here again.
    fn taken_back(self, core: &mut Core, now: Moment) -> State {
        let Some(incumbent) = self.incumbent else {
            return State::Handing(self);
        };
        let cause = Cause::ChannelClosed {
            instance: incumbent.instance,
            phase: Phase::Activate,
        };
        core.reconnected(incumbent);
        core.leaving.dismiss(self.successor, Stop::Now);
        core.rolled_back(now, &self.attempt, incumbent, cause)
    }

    fn tick(self, core: &mut Core, now: Moment) -> State {
        if let (Some(end), Some(budget)) = (self.budget_end(&core.settings), core.settings.max_dark)
            && now >= end
        {
            return self.abort(core, now, Cause::TooDark { budget });
        }
        if now < self.step_deadline {
            return State::Handing(self);
        }
        let allowed = match (self.step, self.undo) {
            (Step::Draining, _) => core.settings.drain,
            (Step::Sealing, _) => core.settings.seal,
            (Step::Activating, None) => core.settings.activate,
            (Step::Activating, Some(_)) => core.settings.resume,
        };
        let phase = self.phase();
        self.abort(core, now, Cause::TimedOut { phase, allowed })
    }

    /// The successor must go. One that was told to activate may hold the lease, so its end is
    /// awaited before the incumbent is told to resume (I1).
    fn abort(self, core: &mut Core, now: Moment, cause: Cause) -> State {
        match self.step {
            Step::Draining | Step::Sealing => {
                let parked = self.dismissed(core);
                self.back(core, now, cause, parked)
            }
            Step::Activating => {
                let Self {
                    attempt,
                    successor,
                    incumbent,
                    ..
                } = self;
                rollback::abort(
                    core,
                    now,
                    Aborting {
                        attempt,
                        successor,
                        incumbent,
                        cause,
                    },
                )
            }
        }
    }

    /// A successor that holds nothing goes; a parked instance stays what it is.
    fn dismissed(&self, core: &mut Core) -> Option<Parked> {
        let parked = self.undo.map(|undo| undo.parked(self.successor));
        if parked.is_none() {
            core.leaving.dismiss(self.successor, Stop::Now);
        }
        parked
    }

    /// The successor holds nothing.
    fn back(self, core: &mut Core, now: Moment, cause: Cause, parked: Option<Parked>) -> State {
        match self.incumbent {
            Some(incumbent) => rollback::resume(core, now, self.attempt, incumbent, parked, cause),
            None => core.lost(now, cause, Some(&self.attempt)),
        }
    }
}
