//! One owner of data: drain and seal the incumbent, then activate the successor. Until the
//! successor is ready every failure leads back to the incumbent (I5); once the incumbent is dead
//! the successor is the only way forward (I11).

use alloc::string::ToString;

use super::core::Core;
use super::rollback::{self, Aborting};
use super::{Attempt, Input, Member, State, stopping};
use crate::event::{EventKind, Readiness};
use crate::identity::InstanceId;
use crate::message::{FromInstance, ToInstance};
use crate::moment::Moment;
use crate::outcome::Cause;
use crate::phase::Phase;
use crate::settings::{Settings, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Draining,
    Sealing,
    Activating,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Handing {
    step: Step,
    pub(super) attempt: Attempt,
    pub(super) successor: Member,
    /// Absent once it died; then it holds no lease.
    pub(super) incumbent: Option<Member>,
    step_deadline: Moment,
}

/// Asks the incumbent to finish what it has. The dark window begins.
pub(super) fn drain(
    core: &mut Core,
    now: Moment,
    attempt: Attempt,
    successor: Member,
    incumbent: Member,
) -> State {
    let attempt = Attempt {
        dark_since: Some(now),
        ..attempt
    };
    core.enter(now, Phase::Drain, &attempt, Some(incumbent), successor);
    let within_ms = u64::try_from(core.settings.drain.as_millis()).unwrap_or(u64::MAX);
    core.send(
        incumbent,
        ToInstance::Drain {
            id: attempt.id,
            within_ms,
        },
    );
    State::Handing(Handing {
        step: Step::Draining,
        attempt,
        successor,
        incumbent: Some(incumbent),
        step_deadline: now + core.settings.drain,
    })
}

/// Tells the successor to take the lease and serve.
pub(super) fn activate(core: &mut Core, now: Moment, handing: Handing, sealed: bool) -> State {
    let handing = Handing {
        step: Step::Activating,
        step_deadline: now + core.settings.activate,
        ..handing
    };
    core.enter(
        now,
        Phase::Activate,
        &handing.attempt,
        handing.incumbent,
        handing.successor,
    );
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
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self.step {
            Step::Draining => "Draining",
            Step::Sealing => "Sealing",
            Step::Activating => "Activating",
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.step {
            Step::Draining => Phase::Drain,
            Step::Sealing => Phase::Seal,
            Step::Activating => Phase::Activate,
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
                self.back(core, now, Cause::ExitedBeforeReady { exit })
            }
            Input::Exited { instance, exit } if self.is_incumbent(instance) => {
                core.crashed(instance, exit);
                self.incumbent_died(core, now)
            }
            Input::Closed { instance } if instance == self.successor.instance => {
                let phase = self.phase();
                self.abort(core, now, Cause::ChannelClosed { instance, phase })
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
                let members = self.incumbent.into_iter().chain([self.successor]);
                stopping::interrupt(core, now, how, &self.attempt, members)
            }
            Input::RecordFailed { reason } => {
                core.withhold(&reason);
                self.abort(core, now, Cause::JournalFailed { reason })
            }
            Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. } => State::Handing(self),
        }
    }

    fn successor_said(self, core: &mut Core, now: Moment, message: FromInstance) -> State {
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
        core.enter(
            now,
            Phase::Seal,
            &self.attempt,
            Some(incumbent),
            self.successor,
        );
        core.send(
            incumbent,
            ToInstance::Seal {
                id: self.attempt.id,
            },
        );
        let step_deadline = now + core.settings.seal;
        State::Handing(Self {
            step: Step::Sealing,
            step_deadline,
            ..self
        })
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
                let Self {
                    attempt, successor, ..
                } = handing;
                core.record(
                    now,
                    Phase::Activate,
                    Some(attempt.id),
                    None,
                    Some(successor),
                    None,
                );
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
                core.leaving.dismiss(self.successor, Stop::Now);
                rollback::resume(core, now, self.attempt, incumbent, cause)
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
        let allowed = match self.step {
            Step::Draining => core.settings.drain,
            Step::Sealing => core.settings.seal,
            Step::Activating => core.settings.activate,
        };
        let phase = self.phase();
        self.abort(core, now, Cause::TimedOut { phase, allowed })
    }

    /// The successor must go. One that was told to activate may hold the lease, so its end is
    /// awaited before the incumbent is told to resume (I1).
    fn abort(self, core: &mut Core, now: Moment, cause: Cause) -> State {
        match self.step {
            Step::Draining | Step::Sealing => {
                core.leaving.dismiss(self.successor, Stop::Now);
                self.back(core, now, cause)
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

    /// The successor holds nothing.
    fn back(self, core: &mut Core, now: Moment, cause: Cause) -> State {
        match self.incumbent {
            Some(incumbent) => rollback::resume(core, now, self.attempt, incumbent, cause),
            None => core.lost(now, cause, Some(&self.attempt)),
        }
    }
}
