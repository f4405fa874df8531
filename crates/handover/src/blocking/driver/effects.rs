//! What the driver does for each effect, strictly in order.

use std::time::{Duration, Instant};

use handover_proto::event::DrainReport;
use handover_proto::instance::{Effect, Input, Instance};
use handover_proto::moment::Machine;

use super::{Driver, Readiness};
use crate::drain;
use crate::driver::LADDER_ALONE;
use crate::driver::effects::refusal;
use crate::error::ReadyError;
use crate::stage::Stage;

/// When a cut becomes rough: threads that use our reads and writes have found out by then, and
/// enough of [`drain::SETTLE`] is left for the others.
const ROUGH_AFTER: Duration = Duration::from_millis(100);

impl Driver {
    /// Runs until nothing is left to do now.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(effect) = self.machine.poll_effect() {
                self.execute(effect);
            } else if let Some(effect) = self.drain.poll_effect() {
                self.act(effect);
            } else if let Some(input) = self.inputs.pop_front() {
                self.reason = refusal(&input);
                self.machine.handle(self.now(), input);
            } else if self.drain_is_due() {
                self.look(drain::Input::Look);
            } else {
                self.confirm_ready();
                return;
            }
        }
    }

    fn drain_is_due(&self) -> bool {
        let due = self
            .drain
            .next_deadline()
            .is_some_and(|at| at <= self.now());
        due || (self.drain.counts() && self.core.ledger.tally().open() == 0)
    }

    /// Answers `ready` once the machine has become an incumbent and all it had to say is sent.
    fn confirm_ready(&mut self) {
        if !matches!(self.machine, Instance::Incumbent(_))
            || !matches!(self.readiness, Readiness::Asked(_))
        {
            return;
        }
        if !self.supervised {
            // Nobody else could.
            self.core.stand(|standing| standing.committed = true);
        }
        if let Readiness::Asked(answer) = std::mem::replace(&mut self.readiness, Readiness::Told) {
            let _ = answer.send(Ok(()));
        }
    }

    fn refuse(&mut self, reason: ReadyError) {
        match std::mem::replace(&mut self.readiness, Readiness::Refused(None)) {
            Readiness::Asked(answer) => drop(answer.send(Err(reason))),
            Readiness::Waiting => self.readiness = Readiness::Refused(Some(reason)),
            other => self.readiness = other,
        }
    }

    fn execute(&mut self, effect: Effect) {
        crate::crash::before(effect.name());
        match effect {
            Effect::Send(message) => self.link.send(&message),
            Effect::Reconnect => self.link.seek(),
            Effect::Warm if self.exclusive => {
                let reason = ReadyError::Exclusive.to_string();
                self.inputs.push_back(Input::Failed { reason });
            }
            Effect::Warm => {
                self.welcome = true;
                self.warmed();
            }
            Effect::Drain { .. } => self.look(drain::Input::Pause),
            Effect::Resume { .. } => {
                self.look(drain::Input::Resume);
                while let Some(effect) = self.drain.poll_effect() {
                    self.act(effect);
                }
                self.inputs.push_back(Input::Resumed);
            }
            Effect::Committed => self.core.stand(|standing| standing.committed = true),
            Effect::Retire { ladder } => {
                let alone = if self.supervised {
                    ladder
                } else {
                    LADDER_ALONE
                };
                let own = self.ladder.unwrap_or(alone);
                let ladder = if self.own_request { own } else { ladder };
                self.look(drain::Input::Retire(ladder));
            }
            Effect::Exit { code } => self.exit(code),
            // Without a lease and state none of the exclusive steps can be taken; the welcome of an
            // exclusive coordinator has been refused, so these come from one that errs.
            Effect::Seal => self.inputs.push_back(Input::SealFailed {
                reason: "this instance has no state to seal".into(),
            }),
            Effect::Acquire => self.inputs.push_back(Input::LeaseBusy),
            Effect::Activate { .. } => self.inputs.push_back(Input::Failed {
                reason: ReadyError::Exclusive.to_string(),
            }),
            Effect::Release => {}
        }
    }

    fn act(&mut self, effect: drain::Effect) {
        crate::crash::before(effect.name());
        let core = &self.core;
        let stage = |stage| core.stand(|standing| standing.stage = stage);
        match effect {
            drain::Effect::Announce => {
                tracing::info!(service = core.name, "retiring");
                core.ledger.watch();
                stage(Stage::Announced);
                if !self.supervised {
                    self.notice.mention("STOPPING=1");
                }
            }
            drain::Effect::Stop => {
                stage(Stage::Notified);
                core.shelf.close();
            }
            drain::Effect::Pause => {
                core.ledger.watch();
                core.stand(|standing| standing.paused = true);
                core.shelf.pause();
            }
            drain::Effect::Reopen => {
                core.shelf.reopen();
                core.stand(|standing| standing.paused = false);
            }
            drain::Effect::Shutdown => stage(Stage::Grace),
            drain::Effect::Cut => {
                stage(Stage::Forced);
                core.ledger.cut();
                self.second_cut = Some(Instant::now() + ROUGH_AFTER);
            }
            drain::Effect::Paused(report) => self.inputs.push_back(Input::Drained { report }),
            drain::Effect::Over(report) => {
                // The coordinator is told before whoever waits here: the process may end next.
                self.report = Some(report);
                self.inputs.push_back(Input::Retired { report });
            }
        }
    }

    fn finish(&self, report: DrainReport) {
        let DrainReport {
            finished,
            cut,
            open,
        } = report;
        tracing::info!(service = self.core.name, finished, cut, open, "drained");
        self.core.stand(|standing| {
            standing.stage = Stage::Over;
            standing.report = report;
        });
    }

    /// The process is to end. A library does not end it: everybody who waits for the end of the
    /// drain goes on instead.
    fn exit(&mut self, code: u8) {
        if matches!(self.machine, Instance::Successor(_)) {
            let reason = self.reason.take().unwrap_or(ReadyError::Ended);
            self.refuse(reason);
        }
        if self.core.standing.borrow().stage == Stage::Over {
            return;
        }
        if let Some(report) = self.report.take() {
            return self.finish(report);
        }
        tracing::info!(service = self.core.name, code, "told to end");
        self.core.shelf.close();
        self.finish(DrainReport {
            open: self.core.ledger.tally().open(),
            ..DrainReport::default()
        });
    }
}
