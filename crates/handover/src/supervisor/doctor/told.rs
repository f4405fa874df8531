//! What a command and its environment say, as `handover peer` reads them: flags win.

use std::collections::BTreeMap;
use std::time::Duration;

use handover_proto::settings::Ladder;

/// Between the signal that asks a program to stop and the one that ends it, by default.
const KILL_AFTER: Duration = Duration::from_secs(5);

/// Words of a command, and variables.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) command: &'a [String],
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl<'a> Told<'a> {
    /// The value of a setting: of `--flag value`, `--flag=value`, or of its variable.
    pub(super) fn value(self, flag: &str) -> Option<&'a str> {
        self.flag(flag).or_else(|| {
            let value = self.environment.get(&variable(flag));
            value.map(String::as_str).filter(|value| !value.is_empty())
        })
    }

    fn flag(self, flag: &str) -> Option<&'a str> {
        let mut words = self.own().peekable();
        while let Some(word) = words.next() {
            if word == flag {
                return words.peek().copied();
            }
            if let Some(value) = word.strip_prefix(flag)
                && let Some(value) = value.strip_prefix('=')
            {
                return Some(value);
            }
        }
        None
    }

    /// The words before those of the program.
    fn own(self) -> impl Iterator<Item = &'a str> {
        let own = self.command.iter().take_while(|word| *word != "--");
        own.map(String::as_str)
    }

    /// Whether a switch is on.
    pub(super) fn is_on(self, flag: &str) -> bool {
        let value = self.environment.get(&variable(flag));
        let is_on = |value: &String| matches!(value.as_str(), "1" | "true" | "yes" | "on");
        self.own().any(|word| word == flag) || value.is_some_and(is_on)
    }

    /// A duration, or the default where none is given or none can be read.
    pub(super) fn time(self, flag: &str, default: Duration) -> Duration {
        let given = self.value(flag).map(humantime::parse_duration);
        given.and_then(Result::ok).unwrap_or(default)
    }

    /// The longest it takes until the program has ended, once it was asked to.
    pub(super) fn ladder(self) -> Duration {
        let usual = Ladder::default();
        [
            ("--drain-announce", usual.announce),
            ("--drain-notify", usual.notify),
            ("--drain-grace", usual.grace),
            ("--kill-after", KILL_AFTER),
        ]
        .into_iter()
        .map(|(flag, default)| self.time(flag, default))
        .fold(Duration::ZERO, Duration::saturating_add)
    }
}

/// Of `--drain-grace` it is `HANDOVER_DRAIN_GRACE`; `--interface` is older than that.
fn variable(flag: &str) -> String {
    let name = flag.trim_start_matches('-');
    match name {
        "interface" => "NETWORK_INTERFACE".to_owned(),
        _ => format!("HANDOVER_{}", name.replace('-', "_").to_uppercase()),
    }
}
