//! The upgrades of the demo: good versions, one that crashes at start, one that is never ready.

use crate::client::Client;
use handover_proto::outcome::{Cause, Outcome};
use handover_proto::status::UpgradeRequest;
use handover_verify::{Trigger, TriggerError, TriggerReport};

/// One upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// To a version that works.
    Good { from: u32, to: u32 },
    /// To one that ends with an error at start.
    Crash,
    /// To one that never becomes ready.
    Never,
}

/// All upgrades in order.
#[derive(Debug)]
pub(super) struct Script {
    client: Client,
    steps: Vec<Step>,
}

/// The server's arguments.
pub(super) fn arguments(version: u32, behaviour: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["__demo-server".to_owned(), "--version-name".to_owned()];
    arguments.push(version.to_string());
    if let Some(behaviour) = behaviour {
        arguments.extend(["--behaviour".to_owned(), behaviour.to_owned()]);
    }
    arguments
}

impl Script {
    /// `good` good upgrades, the bad ones among them: an upgrade after a failed one must work too.
    pub(super) fn new(client: Client, good: u32) -> Self {
        let mut steps: Vec<Step> = (1..=good)
            .map(|from| Step::Good { from, to: from + 1 })
            .collect();
        steps.insert(steps.len() / 3, Step::Crash);
        steps.insert(steps.len() * 2 / 3, Step::Never);
        Self { client, steps }
    }

    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    fn step(&self, n: u32) -> Option<Step> {
        let index = usize::try_from(n.checked_sub(1)?).ok()?;
        self.steps.get(index).copied()
    }
}

impl Step {
    fn label(self) -> String {
        match self {
            Self::Good { from, to } => format!("{from} → {to}"),
            Self::Crash => "crashes at start".to_owned(),
            Self::Never => "never ready".to_owned(),
        }
    }

    fn arguments(self) -> Vec<String> {
        /// A version nobody should ever see answering.
        const BAD: u32 = 666;
        match self {
            Self::Good { to, .. } => arguments(to, None),
            Self::Crash => arguments(BAD, Some("crash")),
            Self::Never => arguments(BAD, Some("never")),
        }
    }

    fn is_met_by(self, outcome: &Outcome) -> bool {
        match (self, outcome) {
            (Self::Good { .. }, Outcome::Committed { .. }) => true,
            (Self::Crash, Outcome::RolledBack { cause }) => {
                matches!(cause, Cause::ExitedBeforeReady { .. })
            }
            (Self::Never, Outcome::TimedOut { .. }) => true,
            _ => false,
        }
    }
}

impl Trigger for Script {
    async fn upgrade(&mut self, n: u32) -> Result<TriggerReport, TriggerError> {
        let Some(step) = self.step(n) else {
            return Err(TriggerError::Other(format!("there is no upgrade {n}")));
        };
        let request = UpgradeRequest {
            args: Some(step.arguments()),
            ..UpgradeRequest::default()
        };
        let outcome = self.client.upgrade(&request).await;
        let outcome = outcome.map_err(|error| TriggerError::Other(error.to_string()))?;
        let as_expected = step.is_met_by(&outcome);
        Ok(TriggerReport {
            label: step.label(),
            outcome: match as_expected {
                true => outcome.word().to_owned(),
                false => outcome.to_string(),
            },
            as_expected,
        })
    }

    fn label(&self, n: u32) -> String {
        self.step(n).map_or_else(String::new, Step::label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use handover_proto::identity::{Generation, InstanceId};

    #[test]
    fn bad_versions_come_between_good_ones() {
        let script = Script::new(Client::new("/x"), 10);
        assert_eq!(script.len(), 12);
        let is_good = |n| matches!(script.step(n), Some(Step::Good { .. }));
        assert!(is_good(1) && is_good(12));
        let bad: Vec<u32> = (1..=12).filter(|n| !is_good(*n)).collect();
        assert_eq!(bad.len(), 2);
        assert_eq!(script.step(13), None);
        assert_eq!(Script::new(Client::new("/x"), 0).len(), 2);
    }

    #[test]
    fn only_the_outcome_that_was_meant_counts() {
        let committed = Outcome::Committed {
            generation: Generation(2),
            instance: InstanceId(2),
        };
        let cancelled = Outcome::RolledBack {
            cause: Cause::Cancelled,
        };
        assert!(Step::Good { from: 1, to: 2 }.is_met_by(&committed));
        for step in [Step::Crash, Step::Never] {
            assert!(!step.is_met_by(&committed));
            assert!(!step.is_met_by(&cancelled));
        }
    }
}
