//! Exit codes: part of the contract with scripts, so they are a type and never change meaning.
//!
//! | code | means |
//! |---|---|
//! | 0 | committed, or done as asked |
//! | 1 | something unexpected; the message says what |
//! | 2 | usage: an argument, a key or a file is not what it must be |
//! | 10 | rolled back: the new version failed, the old one serves |
//! | 11 | refused: nothing was begun, whoever served before serves on |
//! | 12 | timed out: the old one serves |
//! | 13 | nobody serves |
//! | 20 | `verify` or `demo` found loss |
//! | 130 | interrupted by Ctrl-C; what was asked for may still be going on |

use handover_proto::outcome::Outcome;

/// How the command ended. See the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum ExitCode {
    /// Committed, or done as asked.
    Done = 0,
    /// Something unexpected.
    Unexpected = 1,
    /// An argument, a key or a file is not what it must be.
    Usage = 2,
    /// The new version failed; the old one serves.
    RolledBack = 10,
    /// Nothing was begun.
    Refused = 11,
    /// A deadline passed; the old one serves.
    TimedOut = 12,
    /// Nobody serves.
    NobodyServes = 13,
    /// Requests were lost, or an upgrade did not end as it was meant to.
    Loss = 20,
    /// Interrupted by Ctrl-C: 128 + SIGINT, as shells have it.
    Interrupted = 130,
}

impl From<&Outcome> for ExitCode {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Committed { .. } => Self::Done,
            Outcome::RolledBack { .. } => Self::RolledBack,
            Outcome::Refused { .. } => Self::Refused,
            Outcome::TimedOut { .. } => Self::TimedOut,
            Outcome::NobodyServes { .. } => Self::NobodyServes,
        }
    }
}

impl ExitCode {
    /// The code a supervisor ended with, or a program without one gives for an attempt.
    pub(crate) fn of_service(code: u8) -> Self {
        let known = [
            Self::Done,
            Self::RolledBack,
            Self::Refused,
            Self::TimedOut,
            Self::NobodyServes,
        ];
        let same = |known: &Self| *known as u8 == code;
        known.into_iter().find(same).unwrap_or(Self::Unexpected)
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The table as `--help` and the manual show it.
pub(crate) const HELP: &str = "\
Exit codes:
  0    committed, or done as asked
  1    something unexpected; the message says what
  2    usage: an argument, a key or a file is not what it must be
  10   rolled back: the new version failed, the old one serves
  11   refused: nothing was begun, whoever served before serves on
  12   timed out: the old one serves
  13   nobody serves, or no supervisor runs
  20   verify or demo found loss
  130  interrupted by Ctrl-C; what was asked for may still be going on";

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::identity::{Generation, InstanceId};
    use handover_proto::outcome::{Cause, Refusal};

    #[test]
    fn every_outcome_has_the_code_the_protocol_publishes() {
        let outcomes = [
            Outcome::Committed {
                generation: Generation(1),
                instance: InstanceId(1),
            },
            Outcome::RolledBack {
                cause: Cause::Cancelled,
            },
            Outcome::Refused {
                refusal: Refusal::Stopping,
            },
            Outcome::TimedOut {
                cause: Cause::Cancelled,
            },
            Outcome::NobodyServes {
                cause: Cause::Cancelled,
            },
        ];
        for outcome in outcomes {
            assert_eq!(ExitCode::from(&outcome) as u8, outcome.exit_code());
        }
    }

    #[test]
    fn the_table_in_the_help_names_every_code() {
        for code in [
            ExitCode::Done,
            ExitCode::Unexpected,
            ExitCode::Usage,
            ExitCode::RolledBack,
            ExitCode::Refused,
            ExitCode::TimedOut,
            ExitCode::NobodyServes,
            ExitCode::Loss,
            ExitCode::Interrupted,
        ] {
            let code = code as u8;
            assert!(
                HELP.lines()
                    .any(|line| line.trim_start().starts_with(&format!("{code} "))),
                "{code} is missing from the help"
            );
        }
    }
}
