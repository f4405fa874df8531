//! How a handover ended, for whoever waited for it: the cause, the last words of the new version,
//! who serves, and what to do next.

use super::quantity::{duration, millis};
use crate::output::Ink;
use handover_proto::outcome::{Cause, Outcome, Refusal};
use handover_proto::phase::Phase;
use handover_proto::status::Status;
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Another version.
    #[default]
    Forward,
    /// The instance before this one, which is parked.
    Back,
}

/// What is known when an attempt is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// What was asked for.
    pub(crate) wish: Wish,
    /// Since the request, as the client saw it.
    pub(crate) took: Duration,
    /// How long nobody could serve, if that was so.
    pub(crate) dark: Option<Duration>,
    /// What the new version wrote to its standard error last.
    pub(crate) last_words: Vec<String>,
    /// Who serves now, if the supervisor says.
    pub(crate) status: Option<Status>,
}

/// Ends with a newline.
pub(crate) fn render(outcome: &Outcome, ending: &Ending, ink: Ink) -> String {
    let took = duration(ending.took);
    let dark = match ending.dark {
        Some(dark) => format!(", dark for {}", duration(dark)),
        None => String::new(),
    };
    let told = match (ending.wish, outcome) {
        (Wish::Back, Outcome::Committed { instance, .. }) => {
            format!("undone: instance {instance} serves again")
        }
        (Wish::Back, Outcome::RolledBack { cause } | Outcome::TimedOut { cause }) => {
            format!("not undone: {cause}; the new version serves on")
        }
        _ => outcome.to_string(),
    };
    let head = format!("{told} ({took}{dark})");
    let mut text = match outcome {
        Outcome::Committed { .. } => ink.good(&head),
        _ => ink.bad(&head),
    };
    text.push('\n');
    if !ending.last_words.is_empty() {
        text.push_str("the new version's last words:\n");
        for line in &ending.last_words {
            text.push_str(&format!("    {line}\n"));
        }
    }
    if let Some(status) = &ending.status {
        text.push_str(&format!("{}\n", serving(status)));
    }
    if let Some(advice) = advice(outcome) {
        text.push_str(&format!("next: {advice}\n"));
    }
    text
}

fn serving(status: &Status) -> String {
    match &status.incumbent {
        Some(instance) => {
            let pid = match instance.pid {
                Some(pid) => format!(", pid {pid}"),
                None => String::new(),
            };
            let up = millis(instance.uptime_ms);
            format!(
                "serving: instance {}{pid}, up {up}: {}",
                instance.instance, instance.program
            )
        }
        None => "serving: nobody".to_owned(),
    }
}

/// What to do after an attempt that did not commit.
fn advice(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Committed { .. } => None,
        Outcome::Refused { refusal } => Some(match refusal {
            Refusal::Busy { .. } => {
                "wait for it (`handover status`), or ask with --queue or --supersede"
            }
            Refusal::Superseded => "nothing; `handover history` tells how the newer one ended",
            Refusal::Stopping => "start it again with `handover run`",
            Refusal::Preflight { .. } => "correct the file and see `handover check --binary PATH`",
            Refusal::NothingToUndo => "go back to the previous version with `handover rollback`",
            Refusal::NoPrevious { .. } => "name the version with `handover upgrade --binary PATH`",
        }),
        Outcome::NobodyServes { .. } => {
            Some("give it a version that works: `handover upgrade --binary PATH`")
        }
        Outcome::RolledBack { cause } | Outcome::TimedOut { cause } => Some(after(cause)),
    }
}

fn after(cause: &Cause) -> &'static str {
    match cause {
        Cause::SpawnFailed { .. } => "correct the file and see `handover check --binary PATH`",
        Cause::ExitedBeforeReady { .. } | Cause::SuccessorFailed { .. } => {
            "correct the new version and upgrade again; nothing has to be cleaned up"
        }
        Cause::TimedOut {
            phase: Phase::Warm, ..
        } => {
            "if it needs longer, run with a longer --ready-timeout; if it was ready and nobody \
             saw it, choose how to see it with --ready"
        }
        Cause::TimedOut { .. } => {
            "give that phase more time in the configuration, or find what held it up"
        }
        Cause::TooDark { .. } => "allow more with --max-dark, or make seal and activate shorter",
        Cause::SealFailed { .. } => "see why the old instance could not write its state",
        Cause::ChannelClosed { .. } | Cause::Violation { .. } => {
            "see which version of the library both programs are built with"
        }
        Cause::ProbeFailed { .. } => {
            "see why the new version stopped answering, then upgrade again"
        }
        Cause::NotNative => "see Exclusive ownership in docs/operations.md",
        Cause::JournalFailed { .. } => "make room or correct the rights in the runtime directory",
        Cause::Superseded => "nothing; `handover history` tells how the newer one ended",
        Cause::Undone => "nothing; the instance before it serves again",
        Cause::Cancelled => "upgrade again when it suits",
        Cause::Stopping => "start it again with `handover run`",
        Cause::Crashed { .. } => "see its last lines above and `handover history`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::sample;

    #[test]
    fn every_ending_says_who_serves_and_what_to_do_next() {
        let texts: Vec<String> = sample::outcomes()
            .iter()
            .map(|(outcome, ending)| render(outcome, ending, Ink::PLAIN))
            .collect();
        insta::assert_snapshot!(texts.join("\n"));
    }
}
