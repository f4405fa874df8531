//! What `handover dev` says of an event: few lines, between those of the build and of the server.

use super::quantity;
use crate::output::Ink;
use handover_proto::event::EventKind;
use handover_proto::identity::InstanceId;
use handover_proto::outcome::{Cause, Outcome};
use std::path::{Path, PathBuf};

/// Changed files that are named; of more only their number.
const NAMED: usize = 3;

/// What has happened so far, as far as the next line depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Story {
    /// The instance that an attempt is about to start.
    coming: Option<InstanceId>,
    stopping: bool,
}

impl Story {
    /// The end has begun: what ends from here is meant to.
    pub(crate) fn stops(&mut self) {
        self.stopping = true;
    }

    /// The line for an event, or none.
    pub(crate) fn line(&mut self, kind: &EventKind, ink: Ink) -> Option<String> {
        let text = match kind {
            EventKind::ListenerOpened { listener } => {
                format!("holds {} on {}", listener.name, listener.address)
            }
            EventKind::InstanceAdopted { pid, .. } => {
                format!("process {pid} serves still, from an earlier run")
            }
            EventKind::HandoverStarted { to, .. } => {
                self.coming = Some(*to);
                return None;
            }
            EventKind::HandoverFinished { outcome, took, .. } => {
                self.coming = None;
                let took = quantity::duration(*took);
                return self.finished(outcome, &took, ink);
            }
            EventKind::InstanceExited {
                instance,
                exit,
                expected: false,
                ..
            } if self.coming != Some(*instance) && !self.stopping => {
                let text = format!("it {exit}; requests wait until a file changes");
                return Some(told(&ink.bad(&text), ink));
            }
            EventKind::InstanceKilled { .. } => {
                "the version before did not go, and was killed".into()
            }
            EventKind::RequestRefused {
                outcome: Outcome::Refused { refusal },
            } => return Some(told(&ink.bad(&refusal.to_string()), ink)),
            EventKind::Warning { text } => return Some(told(&ink.bad(text), ink)),
            _ => return None,
        };
        Some(told(&text, ink))
    }

    fn finished(&self, outcome: &Outcome, took: &str, ink: Ink) -> Option<String> {
        let (cause, then) = match outcome {
            Outcome::Committed { .. } => {
                let text = ink.good(&format!("the new version serves ({took})"));
                return Some(told(&text, ink));
            }
            Outcome::RolledBack { cause } | Outcome::TimedOut { cause } => {
                (cause, "the version before serves on")
            }
            Outcome::NobodyServes { cause } => (cause, "requests wait until a file changes"),
            Outcome::Refused { refusal } => {
                return Some(told(&ink.bad(&refusal.to_string()), ink));
            }
        };
        // A newer change is under way, or the end.
        if matches!(cause, Cause::Superseded | Cause::Stopping) || self.stopping {
            return None;
        }
        Some(told(&ink.bad(&format!("{cause}; {then}")), ink))
    }
}

/// Whether an event is the end of a server that nobody asked to end: with Ctrl-C it may be heard of
/// before the wish to stop is.
pub(crate) fn may_be_the_end(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::InstanceExited {
            expected: false,
            ..
        }
    ) || matches!(kind, EventKind::HandoverFinished { outcome, .. } if outcome.exit_code() != 0)
}

/// What has changed, by names from where the user stands.
pub(crate) fn changed(paths: &[PathBuf], here: &Path, ink: Ink) -> String {
    let name = |path: &PathBuf| {
        path.strip_prefix(here)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let mut names: Vec<String> = paths.iter().take(NAMED).map(name).collect();
    if paths.len() > NAMED {
        names.push(format!("{} more", paths.len() - NAMED));
    }
    told(&format!("{} changed", names.join(", ")), ink)
}

/// A line of ours among those of others.
pub(crate) fn told(text: &str, ink: Ink) -> String {
    format!("{} {text}", ink.dim("handover:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn what_is_said_of_each_event() {
        let mut story = Story::default();
        let lines: Vec<String> = sample::events()
            .iter()
            .filter_map(|event| story.line(&event.kind, Ink::PLAIN))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn what_is_said_of_each_outcome() {
        let outcomes = sample::outcomes();
        let lines: Vec<String> = outcomes
            .iter()
            .filter_map(|(outcome, ..)| Story::default().finished(outcome, "1.2 s", Ink::PLAIN))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_few_changed_files_are_named() {
        let here = Path::new("/src/web");
        let one = [PathBuf::from("/src/web/src/main.rs")];
        let text = changed(&one, here, Ink::PLAIN);
        assert_eq!(text, "handover: src/main.rs changed");
        let five = ["a", "b", "c", "d", "/lib/e"].map(|name| here.join(name));
        let text = changed(&five, here, Ink::PLAIN);
        assert_eq!(text, "handover: a, b, c, 2 more changed");
    }
}
