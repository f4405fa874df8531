//! Why who serves does: gathered from what is reported, for the status.

use std::time::{Duration, Instant};

use handover_proto::event::EventKind;
use handover_proto::identity::HandoverId;
use handover_proto::outcome::Outcome;
use handover_proto::phase::Phase;
use handover_proto::status::Progress;

/// What was reported and still holds.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Completes "#4 serves: …", or "nobody serves: …".
    why: String,
    /// The last process that ended unasked.
    crash: Option<String>,
    starting: bool,
    /// The running attempt is an undo, and it is done.
    taken_back: bool,
    /// Since when nobody may write.
    dark_since: Option<Instant>,
    seal: Option<Progress>,
    probation_until: Option<Instant>,
}

impl Account {
    /// Takes note of what is reported. `probation` is how long one lasts.
    pub(super) fn learn(&mut self, kind: &EventKind, probation: Duration) {
        match kind {
            EventKind::HandoverStarted { from, .. } => {
                self.starting = from.is_none();
                self.taken_back = false;
            }
            EventKind::PhaseEntered { id, phase } => self.entered(*id, *phase, probation),
            EventKind::SealProgress { done, total, .. } => {
                let (done, total) = (*done, *total);
                self.seal = Some(Progress { done, total });
            }
            EventKind::HandoverFinished { id, outcome, .. } => self.finished(*id, outcome),
            EventKind::TakenBack { cause, .. } => {
                self.probation_until = None;
                self.taken_back = true;
                self.why = format!("it took back: {cause}");
            }
            EventKind::InstanceAdopted { .. } => {
                self.why = "it was found serving when the supervisor was started again".into();
            }
            EventKind::InstanceExited {
                instance,
                exit,
                expected: false,
                ..
            } => self.crash = Some(format!("instance {instance} {exit}")),
            EventKind::RestartScheduled { .. } | EventKind::GaveUp { .. } => {
                let crash = self.crash.take();
                self.why = crash.unwrap_or_else(|| kind.to_string());
            }
            EventKind::Stopping { .. } => self.why = "the service is being stopped".into(),
            _ => {}
        }
    }

    fn entered(&mut self, id: HandoverId, phase: Phase, probation: Duration) {
        let now = Instant::now();
        match phase {
            Phase::Drain => self.dark_since = Some(now),
            Phase::Probation => self.probation_until = Some(now + probation),
            Phase::Resume => self.why = format!("it takes back what it gave up in handover {id}"),
            _ => {}
        }
    }

    fn finished(&mut self, id: HandoverId, outcome: &Outcome) {
        self.dark_since = None;
        self.seal = None;
        self.why = match outcome {
            Outcome::Committed { .. } if self.taken_back => return,
            Outcome::Committed { .. } if self.starting => format!("since it was started ({id})"),
            Outcome::Committed { .. } => format!("since handover {id} was committed"),
            Outcome::RolledBack { cause } | Outcome::TimedOut { cause } => {
                format!("it goes on after handover {id} was rolled back: {cause}")
            }
            Outcome::NobodyServes { cause } => cause.to_string(),
            // Nothing was begun, so nothing changed.
            Outcome::Refused { .. } => return,
        };
    }

    pub(super) fn why(&self) -> String {
        self.why.clone()
    }

    /// How long nobody may write already.
    pub(super) fn dark(&self) -> Option<Duration> {
        self.dark_since.map(|since| since.elapsed())
    }

    pub(super) fn seal(&self) -> Option<Progress> {
        self.seal
    }

    /// What is left of a probation.
    pub(super) fn probation_left(&self) -> Option<Duration> {
        let until = self.probation_until?;
        Some(until.saturating_duration_since(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::identity::{Generation, InstanceId};
    use handover_proto::outcome::{Cause, Exit};
    use handover_proto::phase::Mode;

    const ID: HandoverId = HandoverId::new(42, 3);

    fn after(kinds: &[EventKind]) -> Account {
        let mut account = Account::default();
        for kind in kinds {
            account.learn(kind, Duration::from_secs(30));
        }
        account
    }

    fn finished(outcome: Outcome) -> EventKind {
        EventKind::HandoverFinished {
            id: ID,
            outcome,
            took: Duration::ZERO,
            dark: Duration::ZERO,
            last_words: Vec::new(),
        }
    }

    fn started(from: Option<InstanceId>) -> EventKind {
        EventKind::HandoverStarted {
            id: ID,
            from,
            to: InstanceId(2),
            candidate: String::new(),
            mode: Mode::Exclusive,
        }
    }

    fn committed() -> EventKind {
        finished(Outcome::Committed {
            generation: Generation(2),
            instance: InstanceId(2),
        })
    }

    #[test]
    fn every_way_to_serve_has_its_sentence() {
        let crash = Exit::Signal(9);
        let cause = Cause::Crashed { exit: crash };
        let instance = InstanceId(2);
        let told: Vec<String> = [
            vec![started(None), committed()],
            vec![started(Some(InstanceId(1))), committed()],
            vec![finished(Outcome::RolledBack {
                cause: Cause::Cancelled,
            })],
            vec![EventKind::TakenBack { instance, cause }],
            vec![
                EventKind::InstanceExited {
                    instance,
                    exit: crash,
                    expected: false,
                    last_words: Vec::new(),
                },
                EventKind::RestartScheduled {
                    after: Duration::ZERO,
                    crashes: 1,
                    previous_version: false,
                },
            ],
        ]
        .iter()
        .map(|kinds| after(kinds).why())
        .collect();
        let expected = [
            "since it was started (0000002a-3)",
            "since handover 0000002a-3 was committed",
            "it goes on after handover 0000002a-3 was rolled back: it was cancelled on request",
            "it took back: the serving instance was killed by signal 9",
            "instance #2 was killed by signal 9",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_dark_window_lasts_from_the_drain_to_the_end() {
        let drain = EventKind::PhaseEntered {
            id: ID,
            phase: Phase::Drain,
        };
        let seal = EventKind::SealProgress {
            instance: InstanceId(1),
            done: 1,
            total: 2,
        };
        let dark = after(&[started(Some(InstanceId(1))), drain.clone(), seal.clone()]);
        assert!(dark.dark().is_some());
        assert_eq!(dark.seal(), Some(Progress { done: 1, total: 2 }));
        let over = after(&[started(Some(InstanceId(1))), drain, seal, committed()]);
        assert!(over.dark().is_none() && over.seal().is_none());
    }
}
