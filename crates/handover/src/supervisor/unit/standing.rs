//! What to say to the service manager, decided without I/O: each change once, and nothing else.

use handover_proto::event::EventKind;
use handover_proto::identity::{HandoverId, InstanceId};
use handover_proto::outcome::Outcome;
use handover_sys::notify::monotonic_usec;

use crate::notice::one_line;

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) incumbent: Option<InstanceId>,
    /// A start or a handover runs.
    pub(super) attempt: bool,
    pub(super) stopping: bool,
}

/// What the service manager believes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Believed {
    #[default]
    Starting,
    Running,
    /// By this attempt.
    Reloading(HandoverId),
    Stopping,
}

/// What was said last.
#[derive(Debug, Default)]
pub(super) struct Standing {
    believed: Believed,
}

impl Standing {
    /// Whether a time-out of the service manager's runs.
    pub(super) fn is_busy(&self) -> bool {
        self.believed != Believed::Running
    }

    /// Something happened.
    pub(super) fn learn(&mut self, kind: &EventKind) -> Option<String> {
        match kind {
            EventKind::HandoverStarted {
                id, from: Some(_), ..
            } => {
                let status = format!("STATUS={}", line(kind));
                match self.believed {
                    Believed::Running => {
                        self.believed = Believed::Reloading(*id);
                        let now = monotonic_usec();
                        Some(format!("RELOADING=1\nMONOTONIC_USEC={now}\n{status}"))
                    }
                    // One that superseded another: it reloads already.
                    Believed::Reloading(_) => {
                        self.believed = Believed::Reloading(*id);
                        Some(status)
                    }
                    Believed::Starting | Believed::Stopping => None,
                }
            }
            EventKind::HandoverFinished { id, outcome, .. } => {
                let status = format!("STATUS={}", line(outcome));
                if self.believed == Believed::Reloading(*id) && serves(outcome) {
                    self.believed = Believed::Running;
                    return Some(format!("READY=1\n{status}"));
                }
                (self.believed != Believed::Starting && !serves(outcome)).then_some(status)
            }
            EventKind::RestartScheduled { .. } | EventKind::GaveUp { .. } => {
                Some(format!("STATUS={}", line(kind)))
            }
            EventKind::Stopping { .. } if self.believed != Believed::Stopping => {
                self.believed = Believed::Stopping;
                Some(format!("STOPPING=1\nSTATUS={}", line(kind)))
            }
            _ => None,
        }
    }

    /// Whatever happened, this is how things stand now.
    pub(super) fn look(&mut self, facts: Facts, program: &str) -> Option<String> {
        let Facts {
            incumbent: Some(instance),
            attempt: false,
            stopping: false,
        } = facts
        else {
            return None;
        };
        match self.believed {
            Believed::Starting | Believed::Reloading(_) => {
                self.believed = Believed::Running;
                let program = one_line(program);
                Some(format!(
                    "READY=1\nSTATUS=instance {instance} serves ({program})"
                ))
            }
            Believed::Running | Believed::Stopping => None,
        }
    }
}

const fn serves(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::NobodyServes { .. })
}

fn line(text: &impl std::fmt::Display) -> String {
    one_line(&text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::identity::Generation;
    use handover_proto::outcome::Cause;
    use handover_proto::phase::Mode;
    use handover_proto::settings::Stop;

    const SERVES: Facts = Facts {
        incumbent: Some(InstanceId(1)),
        attempt: false,
        stopping: false,
    };

    fn begins(id: u64) -> EventKind {
        EventKind::HandoverStarted {
            id: HandoverId(id),
            from: Some(InstanceId(1)),
            to: InstanceId(2),
            candidate: "server\nREADY=1".into(),
            mode: Mode::Overlap,
        }
    }

    fn ends(id: u64, outcome: Outcome) -> EventKind {
        EventKind::HandoverFinished {
            id: HandoverId(id),
            outcome,
            took: std::time::Duration::ZERO,
            dark: std::time::Duration::ZERO,
            last_words: Vec::new(),
        }
    }

    fn keys(text: Option<String>) -> Vec<String> {
        let text = text.unwrap_or_default();
        let keys = text.lines().filter_map(|line| line.split_once('='));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    fn serving() -> Standing {
        let mut standing = Standing::default();
        assert!(standing.is_busy());
        assert_eq!(keys(standing.look(SERVES, "server")), ["READY", "STATUS"]);
        assert_eq!(standing.look(SERVES, "server"), None);
        assert!(!standing.is_busy());
        standing
    }

    #[test]
    fn ready_is_said_once_and_not_before_somebody_serves() {
        let mut standing = Standing::default();
        let nobody = Facts {
            incumbent: None,
            ..SERVES
        };
        let starts = Facts {
            attempt: true,
            ..SERVES
        };
        assert_eq!(standing.look(nobody, "server"), None);
        assert_eq!(standing.look(starts, "server"), None);
        serving();
    }

    #[test]
    fn an_upgrade_is_a_reload_however_it_ends() {
        let committed = Outcome::Committed {
            generation: Generation(2),
            instance: InstanceId(2),
        };
        let failed = Outcome::TimedOut {
            cause: Cause::Cancelled,
        };
        for outcome in [committed, failed] {
            let mut standing = serving();
            let begun = standing.learn(&begins(1));
            // One message, and no word of the program's is an assignment.
            assert_eq!(keys(begun), ["RELOADING", "MONOTONIC_USEC", "STATUS"]);
            assert!(standing.is_busy());
            let ended = standing.learn(&ends(1, outcome));
            assert_eq!(keys(ended), ["READY", "STATUS"]);
            assert_eq!(standing.look(SERVES, "server"), None);
        }
    }

    #[test]
    fn an_upgrade_after_which_nobody_serves_is_not_over_until_somebody_does() {
        let mut standing = serving();
        standing.learn(&begins(1));
        let cause = Cause::Cancelled;
        let ended = standing.learn(&ends(1, Outcome::NobodyServes { cause }));
        assert_eq!(keys(ended), ["STATUS"]);
        assert!(standing.is_busy());
        assert_eq!(keys(standing.look(SERVES, "server")), ["READY", "STATUS"]);
    }

    #[test]
    fn the_end_is_said_once_and_nothing_is_ready_after_it() {
        let mut standing = serving();
        let stopping = EventKind::Stopping { how: Stop::Drain };
        assert_eq!(keys(standing.learn(&stopping)), ["STOPPING", "STATUS"]);
        assert_eq!(standing.learn(&stopping), None);
        assert_eq!(standing.look(SERVES, "server"), None);
        assert!(standing.is_busy());
    }
}
