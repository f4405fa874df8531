//! What visitors of the takeover socket want, and what they are told.

use handover_proto::coordinator::Input;
use handover_proto::identity::{InstancePid, RequestId};
use handover_proto::outcome::{Outcome, Refusal};
use handover_proto::phase::Phase;
use handover_proto::settings::WhenBusy;
use handover_proto::takeover::{Answer, Ask, RefusedFor};

use super::coordinator::{Coordination, OWN};
use super::give::Claim;
use super::visitor::{Stage, Visitor, Word};

/// Tells a visitor that nobody is there any more.
pub(super) fn stopping(visitor: &mut Visitor) {
    if !matches!(visitor.stage, Stage::Leaving { .. }) {
        visitor.refuse(RefusedFor::Stopping, "the serving process is being stopped");
    }
}

impl Coordination {
    /// Everything that visitors have done.
    pub(super) fn take_visitors(&mut self) {
        for mut visitor in std::mem::take(&mut self.visitors) {
            visitor.post.flush();
            match visitor.listen() {
                Word::Gone => {}
                Word::Nothing if visitor.is_done() => {}
                Word::Nothing => self.visitors.push(visitor),
                Word::Asked(ask) => self.asked(visitor, ask),
            }
        }
    }

    fn asked(&mut self, mut visitor: Visitor, ask: Ask) {
        crate::crash::coordinating("asked");
        if !visitor.is_trusted() {
            let own = rustix::process::geteuid().as_raw();
            let reason = match visitor.peer {
                Some(peer) => format!(
                    "uid {} may not ask a process of uid {own}; start it as uid {own} or root",
                    peer.uid
                ),
                None => "the kernel does not say who it is".into(),
            };
            visitor.refuse(RefusedFor::Uid, reason);
            return self.visitors.push(visitor);
        }
        if self.leaving {
            stopping(&mut visitor);
            return self.visitors.push(visitor);
        }
        match ask {
            Ask::Take {
                service,
                pid,
                network,
                oldest,
                newest,
            } => self.taken_by(
                visitor,
                Claim {
                    service,
                    pid,
                    network,
                    oldest,
                    newest,
                },
            ),
            Ask::Status => {
                let serving = self.serving();
                visitor.dismiss(&serving);
                self.visitors.push(visitor);
            }
            Ask::Upgrade => {
                let request = self.wait_for_outcome(visitor);
                self.tell(Input::Upgrade {
                    request: Some(request),
                    candidate: OWN,
                    when_busy: WhenBusy::Fail,
                });
            }
            Ask::Undo => {
                let request = self.wait_for_outcome(visitor);
                self.tell(Input::Undo {
                    request: Some(request),
                });
            }
        }
    }

    fn wait_for_outcome(&mut self, mut visitor: Visitor) -> RequestId {
        self.last_request = self.last_request.next();
        visitor.stage = Stage::Waiting(self.last_request);
        self.visitors.push(visitor);
        self.last_request
    }

    fn serving(&self) -> Answer {
        let successor = match self.machine.phase() {
            Phase::Probation => self.machine.incumbent(),
            _ => self.machine.successor(),
        };
        Answer::Serving {
            service: self.host.service.clone(),
            pid: InstancePid(std::process::id()),
            instance: self.own(),
            generation: self.machine.generation(),
            phase: self.machine.phase(),
            mode: self.mode,
            program: self.host.program.shown(),
            uptime_ms: u64::try_from(self.uptime().as_millis()).unwrap_or(u64::MAX),
            listeners: self.host.estate.entries(),
            successor: successor.and_then(|member| member.pid),
        }
    }

    /// Tells those who wait for the outcome of an attempt what happens.
    pub(super) fn progress(&mut self, text: &str) {
        for visitor in &mut self.visitors {
            if matches!(visitor.stage, Stage::Waiting(_)) {
                let text = text.to_owned();
                visitor.answer(&Answer::Progress { text });
            }
        }
    }

    /// How a request ended.
    pub(super) fn answer(&mut self, request: RequestId, outcome: &Outcome) {
        if let Some(arriving) = self
            .arriving
            .take_if(|arriving| arriving.request == request)
        {
            let mut visitor = arriving.visitor;
            visitor.refuse(cause_of(outcome), outcome.to_string());
            self.visitors.push(visitor);
            return;
        }
        let waits = |visitor: &&mut Visitor| visitor.stage == Stage::Waiting(request);
        if let Some(visitor) = self.visitors.iter_mut().find(waits) {
            visitor.dismiss(&Answer::Finished {
                code: outcome.exit_code(),
                word: outcome.word().to_owned(),
                text: outcome.to_string(),
            });
        }
    }
}

const fn cause_of(outcome: &Outcome) -> RefusedFor {
    match outcome {
        Outcome::Refused {
            refusal: Refusal::Stopping,
        } => RefusedFor::Stopping,
        Outcome::Refused {
            refusal: Refusal::NothingToUndo,
        } => RefusedFor::Nothing,
        Outcome::Refused { .. } => RefusedFor::Busy,
        Outcome::Committed { .. }
        | Outcome::RolledBack { .. }
        | Outcome::TimedOut { .. }
        | Outcome::NobodyServes { .. } => RefusedFor::Fault,
    }
}
