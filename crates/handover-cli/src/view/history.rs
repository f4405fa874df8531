//! The screen of `handover history`.

use super::quantity::{UNKNOWN, duration, moment, or_unknown};
use super::table::{Align, Table};
use crate::output::Ink;
use handover_proto::outcome::Outcome;
use handover_proto::status::HistoryEntry;
use std::time::Duration;

/// A line per attempt, oldest first, and under one that failed its cause; ends with a newline.
pub(crate) fn render(entries: &[HistoryEntry], ink: Ink) -> String {
    if entries.is_empty() {
        return "no handover yet; `handover upgrade` makes one\n".to_owned();
    }
    let mut table = Table::new(&[
        ("ENDED", Align::Left),
        ("HANDOVER", Align::Left),
        ("OUTCOME", Align::Left),
        ("TOOK", Align::Right),
        ("DARK", Align::Right),
        ("EPOCH", Align::Right),
        ("PROGRAM", Align::Left),
    ]);
    for entry in entries {
        table.row(vec![
            moment(entry.unix_ms),
            entry.id.to_string(),
            entry.outcome.word().to_owned(),
            duration(Duration::from_micros(entry.took_us)),
            dark(entry.dark_us),
            or_unknown(entry.epoch, |epoch| epoch.0.to_string()),
            entry.program.clone(),
        ]);
    }
    let mut lines = table.lines().into_iter();
    let mut text = format!("{}\n", ink.dim(&lines.next().unwrap_or_default()));
    for (line, entry) in lines.zip(entries) {
        text.push_str(&format!("{line}\n"));
        if let Some(cause) = cause(&entry.outcome) {
            text.push_str(&format!("    {}\n", ink.bad(&cause)));
        }
    }
    text
}

fn dark(micros: u64) -> String {
    match micros {
        0 => UNKNOWN.to_owned(),
        micros => duration(Duration::from_micros(micros)),
    }
}

/// Why it did not commit.
pub(crate) fn cause(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Committed { .. } => None,
        Outcome::RolledBack { cause }
        | Outcome::TimedOut { cause }
        | Outcome::NobodyServes { cause } => Some(cause.to_string()),
        Outcome::Refused { refusal } => Some(refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn a_line_for_each_attempt() {
        insta::assert_snapshot!(render(&sample::history(), Ink::PLAIN));
    }

    #[test]
    fn nothing_yet() {
        insta::assert_snapshot!(render(&[], Ink::PLAIN));
    }
}
