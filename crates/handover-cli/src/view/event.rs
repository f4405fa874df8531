//! An event as a line.

use super::quantity::time_of_day;
use crate::output::Ink;
use handover_proto::event::{Event, EventKind};
use handover_proto::outcome::Outcome;

/// `07:51:19.024  instance #3 is ready (READY=1)`; lines after the first are indented.
pub(crate) fn render(event: &Event, ink: Ink) -> String {
    line(event, &event.kind.to_string(), ink)
}

/// Only the first line, where the last words of an instance are seen elsewhere.
pub(crate) fn headline(event: &Event, ink: Ink) -> String {
    let text = event.kind.to_string();
    line(event, text.lines().next().unwrap_or_default(), ink)
}

fn line(event: &Event, text: &str, ink: Ink) -> String {
    let text = match weight(&event.kind) {
        Weight::Plain => text.to_owned(),
        Weight::Good => ink.good(text),
        Weight::Bad => ink.bad(text),
    };
    format!("{}  {text}", ink.dim(&time_of_day(event.unix_ms)))
}

/// What an event means to the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Plain,
    Good,
    Bad,
}

/// Which events an operator should not miss.
pub(crate) fn weight(kind: &EventKind) -> Weight {
    match kind {
        EventKind::HandoverFinished { outcome, .. } => match outcome {
            Outcome::Committed { .. } => Weight::Good,
            _ => Weight::Bad,
        },
        EventKind::InstanceExited { expected, .. } => match expected {
            true => Weight::Plain,
            false => Weight::Bad,
        },
        EventKind::Audit { allowed, .. } => match allowed {
            true => Weight::Plain,
            false => Weight::Bad,
        },
        EventKind::RequestRefused { .. }
        | EventKind::InstanceKilled { .. }
        | EventKind::TakenBack { .. }
        | EventKind::RestartScheduled { .. }
        | EventKind::GaveUp { .. }
        | EventKind::Warning { .. } => Weight::Bad,
        _ => Weight::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn each_event_is_a_line() {
        let lines: Vec<String> = sample::events()
            .iter()
            .map(|event| render(event, Ink::PLAIN))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
