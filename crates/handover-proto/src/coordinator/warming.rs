//! The successor starts. In overlap mode it also becomes ready here, beside the incumbent.

use alloc::format;
use alloc::string::{String, ToString};

use super::core::Core;
use super::exclusive::{self, Handing};
use super::{Attempt, Input, Link, Member, State, stopping};
use crate::event::{EventKind, Readiness};
use crate::frame::negotiate;
use crate::identity::InstancePid;
use crate::instance::VERSIONS;
use crate::message::{FromInstance, ToInstance};
use crate::moment::Moment;
use crate::outcome::{Cause, Refusal};
use crate::phase::{Mode, Phase};
use crate::settings::Stop;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Warming {
    pub(super) attempt: Attempt,
    pub(super) successor: Member,
    /// Absent at a start, and after the incumbent died: then the successor is all there is.
    pub(super) incumbent: Option<Member>,
    /// Exclusive: incumbent and successor were given a channel to each other.
    pub(super) introduced: bool,
    pub(super) deadline: Moment,
}

impl Warming {
    pub(super) fn handle(mut self, core: &mut Core, now: Moment, input: Input) -> State {
        let successor = self.successor.instance;
        match input {
            Input::Spawned { instance, pid } if instance == successor => {
                self.spawned(core, now, pid)
            }
            Input::SpawnFailed { instance, reason } if instance == successor => {
                self.failed(core, now, Cause::SpawnFailed { reason })
            }
            Input::Undo { request } => {
                core.refuse(request, Refusal::NothingToUndo);
                State::Warming(self)
            }
            Input::RecordFailed { reason } => {
                core.withhold(&reason);
                self.abort(core, now, Cause::JournalFailed { reason })
            }
            Input::Said { instance, message } if instance == successor => {
                self.said(core, now, message)
            }
            Input::BecameReady { instance, how } if instance == successor => {
                self.became_ready(core, now, how)
            }
            Input::Extend { instance, by } if instance == successor => {
                self.deadline = self.deadline.max(now + by);
                State::Warming(self)
            }
            Input::Closed { instance } if instance == successor => self.abort(
                core,
                now,
                Cause::ChannelClosed {
                    instance,
                    phase: Phase::Warm,
                },
            ),
            Input::Exited { instance, exit } if instance == successor => {
                core.crashed(instance, exit);
                self.failed(core, now, Cause::ExitedBeforeReady { exit })
            }
            Input::Exited { instance, exit } if self.is_incumbent(instance) => {
                core.crashed(instance, exit);
                self.incumbent_died(core, now)
            }
            Input::Said { instance, message } if self.is_incumbent(instance) => {
                if let Some(incumbent) = self.incumbent {
                    core.said_while_serving(incumbent, message);
                }
                State::Warming(self)
            }
            Input::Tick if now >= self.deadline => {
                let allowed = core.settings.ready;
                self.abort(
                    core,
                    now,
                    Cause::TimedOut {
                        phase: Phase::Warm,
                        allowed,
                    },
                )
            }
            Input::Upgrade {
                request,
                candidate,
                when_busy,
            } => {
                if core.busy(Phase::Warm, request, candidate, when_busy) {
                    return self.abort(core, now, Cause::Superseded);
                }
                State::Warming(self)
            }
            Input::Cancel => self.abort(core, now, Cause::Cancelled),
            Input::Stop { how } => self.stop(core, now, how),
            Input::Tick
            | Input::Spawned { .. }
            | Input::SpawnFailed { .. }
            | Input::Said { .. }
            | Input::Closed { .. }
            | Input::BecameReady { .. }
            | Input::Extend { .. }
            | Input::Exited { .. } => State::Warming(self),
        }
    }

    fn incumbent_died(self, core: &mut Core, now: Moment) -> State {
        let (id, successor) = (Some(self.attempt.id), Some(self.successor));
        core.record(now, Phase::Warm, id, None, successor, None);
        State::Warming(Self {
            incumbent: None,
            ..self
        })
    }

    fn is_incumbent(&self, instance: crate::identity::InstanceId) -> bool {
        self.incumbent
            .is_some_and(|incumbent| incumbent.instance == instance)
    }

    fn spawned(mut self, core: &mut Core, now: Moment, pid: InstancePid) -> State {
        self.successor.pid = Some(pid);
        let Self {
            attempt,
            successor,
            incumbent,
            ..
        } = self;
        core.record(
            now,
            Phase::Warm,
            Some(attempt.id),
            incumbent,
            Some(successor),
            None,
        );
        core.report(EventKind::InstanceSpawned {
            instance: successor.instance,
            pid,
        });
        State::Warming(self)
    }

    fn said(self, core: &mut Core, now: Moment, message: FromInstance) -> State {
        let instance = self.successor.instance;
        match message {
            FromInstance::Hello {
                pid,
                oldest,
                newest,
                ..
            } => self.greeted(core, now, pid, oldest, newest),
            FromInstance::Warmed if core.settings.mode == Mode::Exclusive => self.warmed(core, now),
            FromInstance::Ready { .. } => self.became_ready(core, now, Readiness::Native),
            FromInstance::Failed { reason } => {
                self.abort(core, now, Cause::SuccessorFailed { reason })
            }
            FromInstance::Status { text } => {
                core.report(EventKind::InstanceStatus { instance, text });
                State::Warming(self)
            }
            FromInstance::Extend { .. } | FromInstance::Connections { .. } => State::Warming(self),
            FromInstance::Warmed
            | FromInstance::Drained { .. }
            | FromInstance::SealProgress { .. }
            | FromInstance::Sealed { .. }
            | FromInstance::SealFailed { .. }
            | FromInstance::Resumed { .. }
            | FromInstance::Retired { .. } => {
                let expected = "Hello, Warmed or Ready".to_string();
                let found = message.name().to_string();
                self.violated(core, now, expected, found)
            }
        }
    }

    fn greeted(
        self,
        core: &mut Core,
        now: Moment,
        pid: InstancePid,
        oldest: u16,
        newest: u16,
    ) -> State {
        if self.successor.pid != Some(pid) {
            let expected = self.successor.pid.map_or_else(
                || "a spawned process".to_string(),
                |pid| format!("process id {pid}"),
            );
            let found = format!("process id {pid}");
            return self.violated(core, now, expected, found);
        }
        if negotiate(VERSIONS, oldest..=newest).is_err() {
            let expected = format!("protocol {} to {}", VERSIONS.start(), VERSIONS.end());
            let found = format!("protocol {oldest} to {newest}");
            return self.violated(core, now, expected, found);
        }
        let introduced = self.introduce(core);
        State::Warming(Self { introduced, ..self })
    }

    /// Welcomes the successor, and opens the channel over which state crosses. An incumbent that
    /// cannot be told is not introduced, and then it is not drained either: what it has in memory
    /// could not cross ([`Self::warmed`]).
    fn introduce(&self, core: &mut Core) -> bool {
        let exclusive = core.settings.mode == Mode::Exclusive;
        let linked = |incumbent: &Member| exclusive && incumbent.link == Link::Open;
        let other = self.incumbent.filter(linked);
        core.welcome(self.successor, self.incumbent.is_some(), other.is_some());
        if let Some(incumbent) = other {
            let id = self.attempt.id;
            core.send(incumbent, ToInstance::Introduce { id });
            core.send(self.successor, ToInstance::Introduce { id });
        }
        other.is_some()
    }

    fn violated(self, core: &mut Core, now: Moment, expected: String, found: String) -> State {
        let instance = self.successor.instance;
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

    fn became_ready(self, core: &mut Core, now: Moment, how: Readiness) -> State {
        let instance = self.successor.instance;
        if core.settings.mode == Mode::Exclusive {
            let expected = "Warmed: in exclusive mode a program is ready only after Activate, \
                            which it has to speak the native protocol for"
                .to_string();
            let found = format!("Ready ({how})");
            return self.violated(core, now, expected, found);
        }
        core.report(EventKind::InstanceReady { instance, how });
        core.commit(now, &self.attempt, self.successor, self.incumbent)
    }

    fn warmed(self, core: &mut Core, now: Moment) -> State {
        let Self {
            attempt,
            successor,
            incumbent,
            introduced,
            ..
        } = self;
        match incumbent {
            Some(incumbent) if introduced && incumbent.link == Link::Open => {
                exclusive::drain(core, now, attempt, successor, incumbent, None)
            }
            Some(incumbent) => {
                let instance = incumbent.instance;
                self.abort(
                    core,
                    now,
                    Cause::ChannelClosed {
                        instance,
                        phase: Phase::Warm,
                    },
                )
            }
            None => exclusive::activate(
                core,
                now,
                Handing::activating(core, now, attempt, successor, None),
                false,
            ),
        }
    }

    fn stop(self, core: &mut Core, now: Moment, how: Stop) -> State {
        // It never served, so there is nothing to drain.
        core.leaving.dismiss(self.successor, how.max(Stop::Fast));
        stopping::interrupt(core, now, how, &self.attempt, self.incumbent, [])
    }

    /// The successor runs and must go; it holds nothing.
    fn abort(self, core: &mut Core, now: Moment, cause: Cause) -> State {
        if self.successor.pid.is_none() {
            return self.failed(core, now, cause);
        }
        // It may have taken work from the shared listener, so it is asked before it is killed.
        core.leaving.dismiss(self.successor, Stop::Fast);
        self.failed(core, now, cause)
    }

    /// The successor is gone, or on its way.
    fn failed(self, core: &mut Core, now: Moment, cause: Cause) -> State {
        match self.incumbent {
            Some(incumbent) => core.rolled_back(now, &self.attempt, incumbent, cause),
            None => core.lost(now, cause, Some(&self.attempt)),
        }
    }
}
