//! What happens between containers, as lines and as JSON. Each says who serves.

use super::quantity::time_of_day;
use crate::output::Ink;
use handover_proto::container::PeerId;
use handover_proto::container::event::{Event, Successor};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What the command does besides what the library tells of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Note {
    /// The program serves on duplicates of another container's listeners.
    ListenersShared {
        /// Their names.
        names: Vec<String>,
    },
    /// There is a volume, and no listeners came through it.
    ListenersBound {
        /// Why.
        reason: String,
    },
    /// This container handed over before it was started again, and its successor, or one after
    /// that, serves.
    StaysRetired {
        /// Who serves.
        serves: Serves,
        /// Whether the container ends at once.
        exits: bool,
    },
    /// This container handed over before it was started again, and nobody younger was heard.
    ServesAgain {
        /// For so long.
        waited: Duration,
    },
    /// The handover-complete file is there.
    Completed {
        /// Where.
        path: PathBuf,
        /// Whether the container ends at once.
        exits: bool,
    },
    /// Something did not work that changes nothing about who serves.
    Doubtful {
        /// What, and what follows.
        reason: String,
    },
    /// The program failed while an older instance could still come back.
    RolledBack,
    /// The program failed for good.
    GaveUp {
        /// Who serves, if anybody answered.
        serves: Option<PeerId>,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = |exits: &bool| match exits {
            true => "it exits",
            false => "it stays, quiet, until it is stopped",
        };
        match self {
            Self::ListenersShared { names } => write!(
                f,
                "listeners of the serving instance are shared: {}; no client is refused",
                names.join(", ")
            ),
            Self::ListenersBound { reason } => {
                write!(f, "listeners are bound anew: {reason}")
            }
            Self::StaysRetired { serves, exits } => write!(
                f,
                "this container has handed over before, and {serves:#} serves: {}",
                then(exits)
            ),
            Self::ServesAgain { waited } => write!(
                f,
                "this container has handed over before, but nobody younger answered within \
                 {waited:.1?}: it starts as usual"
            ),
            Self::Completed { path, exits } => write!(
                f,
                "{} is written: the platform may end this container; {}",
                path.display(),
                then(exits)
            ),
            Self::Doubtful { reason } => f.write_str(reason),
            Self::RolledBack => f.write_str(
                "the program failed while an older instance could still come back: it is asked to",
            ),
            Self::GaveUp { serves: Some(peer) } => {
                write!(f, "the program failed for good; {peer:#} serves")
            }
            Self::GaveUp { serves: None } => f.write_str(
                "the program failed for good, and nobody else answered: nobody is known to serve",
            ),
        }
    }
}

impl Note {
    /// Whether somebody should look.
    pub(crate) const fn is_warning(&self) -> bool {
        match self {
            Self::Doubtful { .. } | Self::RolledBack | Self::GaveUp { .. } => true,
            Self::ListenersShared { .. }
            | Self::ListenersBound { .. }
            | Self::StaysRetired { .. }
            | Self::ServesAgain { .. }
            | Self::Completed { .. } => false,
        }
    }
}

/// Who serves, as far as this container knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Serves {
    /// Somebody else, or nobody: this one has not served yet.
    #[default]
    Unknown,
    /// This instance.
    This,
    /// Another one.
    Peer(PeerId),
    /// One of handover-lib.
    Legacy,
    /// Nobody it knows of.
    Nobody,
}

impl fmt::Display for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::This => f.write_str("this instance"),
            // The alternative is what fits into a line.
            Self::Peer(peer) if f.alternate() => write!(f, "{peer:#}"),
            Self::Peer(peer) => write!(f, "{peer}"),
            Self::Legacy => f.write_str("a legacy instance"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

impl From<Successor> for Serves {
    fn from(by: Successor) -> Self {
        match by {
            Successor::Peer { peer, .. } => Self::Peer(peer),
            Successor::Legacy { .. } => Self::Legacy,
            Successor::Nobody => Self::Nobody,
        }
    }
}

impl Serves {
    /// Who serves after an event, if who served before it is `self`.
    pub(crate) fn after(self, event: &Event) -> Self {
        match event {
            Event::Serving { .. }
            | Event::CandidateSilent { .. }
            | Event::Asked { .. }
            | Event::OlderDrains { .. }
            | Event::OlderReleased { .. }
            | Event::OlderCommitted { .. } => Self::This,
            Event::Draining { by } | Event::Committed { by } => match by {
                Successor::Nobody => self.without_this(),
                by => (*by).into(),
            },
            Event::Replaced { to, .. } => (*to).into(),
            Event::SuccessorBack { peer }
            | Event::Probation { peer, .. }
            | Event::OlderResumed { peer } => Self::Peer(*peer),
            Event::SuccessorLost { .. } | Event::TakingBack { .. } | Event::NobodyServes { .. } => {
                Self::Nobody
            }
            Event::Failed { .. } => self.without_this(),
            Event::YoungerHeard { .. }
            | Event::OlderSilent { .. }
            | Event::ReadyRefused
            | Event::Stopping { .. }
            | Event::Elsewhere { .. }
            | Event::LegacyFromFuture { .. }
            | Event::LegacyNotObeyed { .. }
            | Event::LegacyTimeRaised { .. }
            | Event::Refused { .. } => self,
        }
    }

    /// Once this instance serves no more.
    fn without_this(self) -> Self {
        match self {
            Self::This => Self::Nobody,
            other => other,
        }
    }
}

/// What the supervisor says, who knows of its own container only.
pub(crate) fn here(text: &str) -> String {
    text.replace("nobody serves", "nobody in this container serves")
}

/// `07:51:19.024  3f2a91c0 serves; this instance drains`.
pub(crate) fn line(text: &str, is_warning: bool, unix_ms: u64, ink: Ink) -> String {
    let time = ink.dim(&time_of_day(unix_ms));
    match is_warning {
        true => format!("{time}  {}", ink.bad(text)),
        false => format!("{time}  {text}"),
    }
}

/// One object: what happened under `peer`, who serves under `serves`.
pub(crate) fn json(what: &impl Serialize, text: &str, serves: Serves, unix_ms: u64) -> String {
    let value = serde_json::json!({
        "unix_ms": unix_ms,
        "event": "peer",
        "peer": what,
        "serves": serves.to_string(),
        "text": text,
    });
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::container::BootId;
    use handover_proto::container::event::Cause;
    use handover_proto::container::order::Order;

    const OTHER: PeerId = PeerId([0xa7; 16]);

    fn order() -> Order {
        Order {
            boot: BootId([1; 16]),
            started_ns: 12_000_000_000,
            entry: None,
        }
    }

    fn events() -> Vec<Event> {
        let (peer, order) = (PeerId([0x3f; 16]), order());
        let by = Successor::Peer { peer: OTHER, order };
        let cause = Cause::Silent {
            silent: Duration::from_secs(5),
        };
        vec![
            Event::Serving {
                peer,
                order,
                legacy_ms: None,
            },
            Event::YoungerHeard { peer: OTHER, order },
            Event::Draining { by },
            Event::Probation {
                peer: OTHER,
                lasts: Duration::from_secs(10),
            },
            Event::TakingBack { peer: OTHER, cause },
            Event::Serving {
                peer,
                order,
                legacy_ms: None,
            },
            Event::Draining { by },
            Event::Committed { by },
        ]
    }

    #[test]
    fn each_line_knows_who_serves() {
        let mut serves = Serves::default();
        let mut lines = vec![format!("(at first: {serves})")];
        for event in events() {
            serves = serves.after(&event);
            let text = event.to_string();
            lines.push(line(&text, event.is_warning(), 0, Ink::PLAIN));
            lines.push(format!("    serves: {serves}"));
        }
        lines.push(json(&events()[0], "text", Serves::This, 5));
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn one_that_stops_for_nobody_leaves_nobody() {
        let stopping = Event::Draining {
            by: Successor::Nobody,
        };
        assert_eq!(Serves::This.after(&stopping), Serves::Nobody);
        // In probation somebody else serves, whoever is told to stop.
        assert_eq!(Serves::Peer(OTHER).after(&stopping), Serves::Peer(OTHER));
    }

    #[test]
    fn a_supervisor_speaks_for_its_container_only() {
        let said = "giving up after 5 crashes; nobody serves: it exited with code 1";
        let here = here(said);
        assert!(here.contains("nobody in this container serves"), "{here}");
        assert_eq!(super::here("stopped"), "stopped");
    }

    #[test]
    fn notes() {
        let notes = [
            Note::ListenersShared {
                names: vec!["http".into(), "admin".into()],
            },
            Note::ListenersBound {
                reason: "nobody serves who could give its listeners".into(),
            },
            Note::StaysRetired {
                serves: Serves::Peer(OTHER),
                exits: false,
            },
            Note::ServesAgain {
                waited: Duration::from_secs(3),
            },
            Note::Completed {
                path: "/tmp/balena/handover-complete".into(),
                exits: false,
            },
            Note::Completed {
                path: "/tmp/balena/handover-complete".into(),
                exits: true,
            },
            Note::RolledBack,
            Note::GaveUp {
                serves: Some(OTHER),
            },
            Note::GaveUp { serves: None },
        ];
        let lines: Vec<String> = notes
            .iter()
            .map(|note| line(&note.to_string(), note.is_warning(), 0, Ink::PLAIN))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
