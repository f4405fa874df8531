//! What is done for each effect, strictly in order.

use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::instance::{Effect, Input, Instance};
use handover_proto::message::FromInstance;
use handover_proto::moment::Machine;
use handover_proto::settings::Ladder;

use super::readiness::{Parting, Refusal};
use super::{Conduct, LADDER_ALONE, Surroundings};
use crate::drain;
use crate::error::ReadyError;
use crate::stage::Stage;

impl<S: Surroundings> Conduct<S> {
    /// Runs until nothing is left to do now.
    pub(crate) fn settle(&mut self) {
        if self
            .watchdog
            .as_mut()
            .is_some_and(|watchdog| watchdog.is_due())
        {
            self.notice.alive();
        }
        loop {
            if let Some(effect) = self.machine.poll_effect() {
                self.execute(effect);
            } else if let Some(effect) = self.drain.poll_effect() {
                self.act(effect);
            } else if let Some(step) = self.owner.as_mut().and_then(|owner| owner.poll_step()) {
                self.step(step);
            } else if let Some(input) = self.inputs.pop_front() {
                self.reason = self.refusal(&input);
                self.machine.handle(self.now(), input);
                self.note_abort();
            } else if self.drain_is_due() {
                self.look(drain::Input::Look);
            } else {
                self.confirm_ready();
                if self.inputs.is_empty() {
                    return;
                }
            }
        }
    }

    fn drain_is_due(&self) -> bool {
        let due = self
            .drain
            .next_deadline()
            .is_some_and(|at| at <= self.now());
        due || self.drain.is_due(&self.core.ledger.tally())
    }

    fn execute(&mut self, effect: Effect) {
        crate::crash::before(effect.name());
        match effect {
            Effect::Send(message) => self.surroundings.send(&message),
            Effect::Reconnect => self.reconnect(),
            Effect::Warm => {
                self.warming = true;
                self.warm();
            }
            Effect::Drain { within_ms } => {
                self.look(drain::Input::Pause);
                self.drain_owner(Duration::from_millis(within_ms));
            }
            Effect::Resume { .. } => match &mut self.owner {
                Some(owner) => owner.resume(),
                None => self.resumed(),
            },
            Effect::Committed => {
                self.core.stand(|standing| standing.committed = true);
                if matches!(self.machine, Instance::Incumbent(_)) {
                    self.enthrone();
                }
                if let Some(owner) = &mut self.owner {
                    owner.committed();
                }
            }
            Effect::Retire { ladder } => {
                let alone = if self.supervised {
                    ladder
                } else {
                    LADDER_ALONE
                };
                let own = self.ladder.unwrap_or(alone);
                let ladder = if self.own_request { own } else { ladder };
                if self.own_request {
                    self.abdicate();
                }
                if let Some(owner) = &mut self.owner {
                    owner.retire();
                }
                self.look(drain::Input::Retire(ladder));
            }
            Effect::Exit { code } => match &mut self.owner {
                Some(owner) => {
                    self.ending = self.reason.take();
                    owner.exit(code);
                }
                None => self.exit(code),
            },
            Effect::Acquire | Effect::Activate { .. } | Effect::Seal | Effect::Release => {
                self.execute_owners(effect);
            }
        }
    }

    /// Accepts again, and tells the machine.
    pub(super) fn resumed(&mut self) {
        self.look(drain::Input::Resume);
        while let Some(effect) = self.drain.poll_effect() {
            self.act(effect);
        }
        self.inputs.push_back(Input::Resumed);
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
                if !self.supervised && !self.is_replaced() {
                    self.notice.stopping();
                }
            }
            drain::Effect::Stop => {
                stage(Stage::Notified);
                self.close_listeners();
            }
            drain::Effect::Pause => {
                core.ledger.watch();
                core.stand(|standing| standing.paused = true);
                self.surroundings.pause();
            }
            drain::Effect::Reopen => {
                if let Err(error) = self.surroundings.reopen() {
                    tracing::error!(%error, "a listener cannot accept again");
                    let reason = format!("a listener cannot accept again: {error}");
                    self.inputs.push_back(Input::Failed { reason });
                }
                core.stand(|standing| standing.paused = false);
            }
            drain::Effect::Shutdown => stage(Stage::Grace),
            drain::Effect::Cut => {
                // In this order: whoever learns of the cut by the stage and ends counts as cut.
                self.surroundings.cut();
                stage(Stage::Forced);
            }
            drain::Effect::Paused(report) => match &mut self.owner {
                Some(owner) => owner.paused(report),
                None => self.inputs.push_back(Input::Drained { report }),
            },
            drain::Effect::Over(report) => {
                if let Some(parting) = self.parting.take() {
                    self.refuse(parting.reason);
                    return self.finish(report);
                }
                match &mut self.owner {
                    Some(owner) => owner.close(report),
                    None => self.retired(report),
                }
            }
        }
    }

    /// Nothing is left to do but to end. The coordinator is told before whoever waits here: the
    /// process may end next.
    pub(super) fn retired(&mut self, report: DrainReport) {
        self.report = Some(report);
        self.inputs.push_back(Input::Retired { report });
    }

    fn finish(&self, report: DrainReport) {
        let DrainReport {
            finished,
            cut,
            open,
        } = report;
        tracing::info!(service = self.core.name, finished, cut, open, "drained");
        self.vacate();
        self.core.stand(|standing| {
            standing.stage = Stage::Over;
            standing.report = report;
        });
    }

    /// The process is to end. A library does not end it: everybody who waits for the end of the
    /// drain goes on instead.
    pub(super) fn exit(&mut self, code: u8) {
        if matches!(self.machine, Instance::Successor(_)) {
            let reason = self.reason.take();
            let reason = reason.unwrap_or(Refusal::Ready(ReadyError::Ended));
            if self.core.ledger.tally().open() > 0 && self.parting.is_none() {
                return self.part(reason);
            }
            self.refuse(reason);
        }
        if self.core.standing.borrow().stage == Stage::Over {
            return;
        }
        if let Some(report) = self.report.take() {
            return self.finish(report);
        }
        tracing::info!(service = self.core.name, code, "told to end");
        self.close_listeners();
        self.finish(DrainReport {
            open: self.core.ledger.tally().open(),
            ..DrainReport::default()
        });
    }

    /// I5: it accepted before it was ready, and nobody else sees those connections any more. They are
    /// finished before anybody is told that it will not be ready, for then it ends.
    fn part(&mut self, reason: Refusal) {
        let ladder = Ladder {
            announce: Duration::ZERO,
            ..self.ladder.unwrap_or(LADDER_ALONE)
        };
        self.parting = Some(Parting {
            reason,
            asked: false,
        });
        self.look(drain::Input::Retire(ladder));
    }

    /// The driver ends while the ladder runs, which is what `main` returning after its server has
    /// finished looks like: the coordinator still gets its report.
    pub(crate) fn farewell(&mut self) {
        let closing = self.owner.as_ref().and_then(|owner| owner.closing());
        let running = self.drain.report(&self.core.ledger.tally());
        let Some(mut report) = running.or(closing) else {
            return;
        };
        // What is open now ends with the process.
        report.cut = report.cut.saturating_add(report.open);
        report.open = 0;
        self.machine.handle(self.now(), Input::Retired { report });
        while let Some(effect) = self.machine.poll_effect() {
            if let Effect::Send(message @ FromInstance::Retired { .. }) = effect {
                self.surroundings.send(&message);
            }
        }
    }
}
