//! The variables of handover-lib, and ours beside them.

use std::ffi::OsString;

use super::super::Finding;
use super::super::told::Told;
use crate::container::Environment;

/// What can be read of them, and each that cannot.
pub(super) fn examine(told: Told<'_>) -> (Environment, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut unreadable = Vec::new();
    let variables = |name: &'static str| match name {
        "HANDOVER_NETWORK_MODE" => told.value("--network-mode").map(OsString::from),
        "NETWORK_INTERFACE" => told.value("--interface").map(OsString::from),
        _ => told.environment.get(name).map(OsString::from),
    };
    loop {
        let left = |name| variables(name).filter(|_| !unreadable.contains(&name));
        match Environment::read_from(left) {
            Ok(read) => {
                if findings.is_empty() {
                    findings.push(Finding::ok("variables", "each can be read"));
                }
                return (read, findings);
            }
            Err(error) => {
                // The same one twice would never end.
                if unreadable.contains(&error.variable) {
                    return (Environment::default(), findings);
                }
                unreadable.push(error.variable);
                findings.push(Finding::bad(
                    error.variable,
                    format!("{:?}, expected {}", error.found, error.expected),
                    "set it right, or unset it",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::supervisor::doctor::Verdict;

    fn told(variables: &[(&str, &str)], flags: &str) -> Vec<(String, Verdict)> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: BTreeMap<_, _> = variables.iter().map(owned).collect();
        let command: Vec<_> = flags.split_whitespace().map(str::to_owned).collect();
        let (_, findings) = examine(Told {
            command: &command,
            environment: &environment,
        });
        let pairs = findings.into_iter().map(|one| (one.check, one.verdict));
        pairs.collect()
    }

    #[test]
    fn every_variable_that_cannot_be_read_is_named() {
        let good = vec![("variables".to_owned(), Verdict::Ok)];
        assert_eq!(told(&[], ""), good);
        assert_eq!(told(&[("SHUTDOWN_PORT", "1600")], ""), good);
        let bad = |names: &[&str]| -> Vec<_> {
            let named = names.iter().map(|name| ((*name).to_owned(), Verdict::Bad));
            named.collect()
        };
        let three = [
            ("HANDOVER_NETWORK_MODE", "both"),
            ("SHUTDOWN_BROADCAST_ADDRESS", "10.0.0.1"),
            ("HANDOVER_STATUS_PORT", "0"),
        ];
        assert_eq!(told(&three, ""), bad(&three.map(|(name, _)| name)));
        // The flag is what counts.
        assert_eq!(told(&three[..1], "--network-mode host"), good);
    }
}
