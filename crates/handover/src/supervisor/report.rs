//! What the machine reports, completed with what it cannot know, and told to everybody.

use handover_proto::coordinator::Member;
use handover_proto::event::EventKind;
use handover_proto::identity::{HandoverId, InstanceId};
use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use handover_proto::status::HistoryEntry;
use std::time::Duration;

use super::bus::unix_ms;
use super::driver::{Attempt, Driver};

impl Driver {
    pub(super) fn report(&mut self, mut kind: EventKind) {
        let untrue = self.is_untrue(&kind);
        match &mut kind {
            EventKind::HandoverStarted {
                id, to, candidate, ..
            } => *candidate = self.begun(*id, *to),
            EventKind::InstanceReady { instance, .. } => {
                if let Some(process) = self.processes.get_mut(instance) {
                    process.stop_probe();
                }
            }
            EventKind::InstanceExited {
                instance,
                expected,
                last_words,
                ..
            } => *last_words = self.gone(*instance, expected),
            EventKind::HandoverFinished {
                id,
                outcome,
                took,
                dark,
                last_words,
            } => *last_words = self.over(*id, outcome, *took, *dark),
            EventKind::GaveUp { cause, .. } | EventKind::TakenBack { cause, .. } => {
                *cause = self.explain(self.latest, cause.clone());
            }
            EventKind::PhaseEntered {
                phase: Phase::Probation,
                ..
            } => self.watch_probation(),
            _ => {}
        }
        self.account.learn(&kind, self.config.probation);
        if !untrue {
            self.herald(&kind);
            self.bus.publish(kind);
        }
    }

    /// An attempt begins: what is to serve.
    fn begun(&mut self, id: HandoverId, to: InstanceId) -> String {
        let wanted = self.machine.successor();
        let wanted = wanted.filter(|member| member.instance == to);
        // An undo goes to an instance that runs.
        let running = self.processes.get(&to).map(|process| process.candidate);
        let candidate = wanted.map(|Member { candidate, .. }| candidate).or(running);
        let program = candidate.and_then(|id| self.candidates.get(&id));
        let program = program.map(|program| program.label()).unwrap_or_default();
        self.latest = Some(to);
        // Of those that are still there it may be why this attempt fails as well.
        let processes = &self.processes;
        self.faults
            .retain(|instance, _| processes.contains_key(instance));
        let attempt = Attempt {
            program: program.clone(),
            instance: to,
        };
        self.attempts.insert(id, attempt);
        program
    }

    /// A process ended: its last words, if nobody expected that.
    fn gone(&mut self, instance: InstanceId, expected: &mut bool) -> Vec<String> {
        self.introductions.gone(instance);
        self.forget_stranger(instance);
        self.adopted_gone(instance);
        let Some(process) = self.processes.remove(&instance) else {
            return Vec::new();
        };
        // Workers without their leader would go on accepting.
        if !process.stranger {
            self.kin(instance, process.pid).end(*expected, &self.config);
        }
        let surprising = !*expected;
        *expected |= process.killed;
        match &process.stderr {
            Some(stderr) if surprising => stderr.last_words(),
            _ => Vec::new(),
        }
    }

    /// An attempt is over: the last words of a candidate that still runs and does not serve.
    fn over(
        &mut self,
        id: HandoverId,
        outcome: &mut Outcome,
        took: Duration,
        dark: Duration,
    ) -> Vec<String> {
        self.introductions.over(id);
        let attempt = self.attempts.remove(&id);
        let instance = attempt.as_ref().map(|attempt| attempt.instance);
        *outcome = self.explained(instance, outcome.clone());
        self.undone(outcome);
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.history.push(HistoryEntry {
            unix_ms: unix_ms(),
            id,
            program: attempt.map(|attempt| attempt.program).unwrap_or_default(),
            outcome: outcome.clone(),
            took_us: micros(took),
            dark_us: micros(dark),
            epoch: self.lease().map(|lease| lease.epoch),
        });
        let process = instance.and_then(|instance| self.processes.get(&instance));
        let stderr = process.and_then(|process| process.stderr.as_ref());
        match stderr {
            Some(stderr) if outcome.exit_code() != 0 => stderr.last_words(),
            _ => Vec::new(),
        }
    }
}
