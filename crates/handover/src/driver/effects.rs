//! What the driver does for each effect, strictly in order.

use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::instance::{Effect, Input, Instance};
use handover_proto::message::FromInstance;
use handover_proto::moment::Machine;

use super::{Driver, LADDER_ALONE, Readiness, Refusal};
use crate::drain;
use crate::error::ReadyError;
use crate::exclusive::owner::Owner;
use crate::stage::Stage;

impl Driver {
    /// Runs until nothing is left to do now.
    pub(super) fn settle(&mut self) {
        loop {
            if let Some(effect) = self.machine.poll_effect() {
                self.execute(effect);
            } else if let Some(effect) = self.drain.poll_effect() {
                self.act(effect);
            } else if let Some(step) = self.owner.as_mut().and_then(Owner::poll_step) {
                self.step(step);
            } else if let Some(input) = self.inputs.pop_front() {
                self.reason = self.refusal(&input);
                self.machine.handle(self.now(), input);
                self.note_abort();
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
        if let Readiness::Asked(asker) = std::mem::replace(&mut self.readiness, Readiness::Told) {
            asker.answer(Ok(()));
        }
        if !self.supervised {
            // Nobody else could.
            self.core.stand(|standing| standing.committed = true);
        }
    }

    pub(super) fn refuse(&mut self, reason: Refusal) {
        match std::mem::replace(&mut self.readiness, Readiness::Refused(None)) {
            Readiness::Asked(asker) => asker.answer(Err(reason)),
            Readiness::Waiting => self.readiness = Readiness::Refused(Some(reason)),
            other => self.readiness = other,
        }
    }

    fn execute(&mut self, effect: Effect) {
        crate::crash::before(effect.name());
        match effect {
            Effect::Send(message) => self.link.send(&message),
            Effect::Reconnect if self.supervised || self.link.is_beyond() => self.link.seek(),
            Effect::Reconnect => {}
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
                if let Err(error) = core.shelf.reopen() {
                    tracing::error!(%error, "a listener cannot accept again");
                    let reason = format!("a listener cannot accept again: {error}");
                    self.inputs.push_back(Input::Failed { reason });
                }
                core.stand(|standing| standing.paused = false);
            }
            drain::Effect::Shutdown => stage(Stage::Grace),
            drain::Effect::Cut => {
                stage(Stage::Forced);
                core.ledger.cut();
            }
            drain::Effect::Paused(report) => match &mut self.owner {
                Some(owner) => owner.paused(report),
                None => self.inputs.push_back(Input::Drained { report }),
            },
            drain::Effect::Over(report) => match &mut self.owner {
                Some(owner) => owner.close(report),
                None => self.retired(report),
            },
        }
    }

    /// Nothing is left to do but to end.
    pub(super) fn retired(&mut self, report: DrainReport) {
        self.finish(report);
        self.inputs.push_back(Input::Retired { report });
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
    pub(super) fn exit(&mut self, code: u8) {
        if matches!(self.machine, Instance::Successor(_)) {
            let reason = self.reason.take();
            self.refuse(reason.unwrap_or(Refusal::Ready(ReadyError::Ended)));
        }
        if self.core.standing.borrow().stage == Stage::Over {
            return;
        }
        tracing::info!(service = self.core.name, code, "told to end");
        self.core.shelf.close();
        self.finish(DrainReport {
            open: self.core.ledger.tally().open(),
            ..DrainReport::default()
        });
    }
}

impl Drop for Driver {
    /// The runtime ends while the ladder runs, which is what `main` returning after its server has
    /// finished looks like: the coordinator still gets its report.
    fn drop(&mut self) {
        let closing = self.owner.as_ref().and_then(Owner::closing);
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
                self.link.send(&message);
            }
        }
    }
}
