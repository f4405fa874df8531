//! Every key there is.

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// A list of listeners, `NAME=ADDRESS`; in the environment separated by commas.
    Listeners,
    /// How an instance is found to be ready.
    Readiness,
    /// A program and its arguments; in the environment separated by spaces.
    Words,
    /// A time with its unit.
    Duration,
    /// A whole number, not negative.
    Count,
    /// True or false.
    Switch,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Names and text values.
    Map,
}

impl Kind {
    /// For error messages.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Readiness => "text",
            Self::Listeners | Self::Words => "a list of text",
            Self::Duration => "a time such as \"30s\"",
            Self::Count => "a whole number, not negative",
            Self::Switch => "true or false",
            Self::OneOf(_) => "one of the words it knows",
            Self::Map => "a table of names and text values",
        }
    }
}

/// A setting: the same value as a key in the file, a flag and a variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// The key in the file.
    pub(crate) name: &'static str,
    /// The flag.
    pub(crate) flag: &'static str,
    /// The variable; empty if there is none.
    pub(crate) variable: &'static str,
    /// What it must be.
    pub(crate) kind: Kind,
    /// The value when nobody gives one, as TOML; empty if there is none.
    pub(crate) default: &'static str,
}

const fn key(
    name: &'static str,
    flag: &'static str,
    variable: &'static str,
    kind: Kind,
    default: &'static str,
) -> Key {
    Key {
        name,
        flag,
        variable,
        kind,
        default,
    }
}

/// In the order they are shown.
pub(crate) const KEYS: &[Key] = &[
    key("service", "--name", "HANDOVER_NAME", Kind::Text, ""),
    key("program", "-- PROGRAM", "HANDOVER_PROGRAM", Kind::Words, ""),
    key(
        "directory",
        "--directory",
        "HANDOVER_DIRECTORY",
        Kind::Text,
        "",
    ),
    key("env", "--env", "", Kind::Map, "{}"),
    key(
        "listeners",
        "--listen",
        "HANDOVER_LISTEN",
        Kind::Listeners,
        "[]",
    ),
    key(
        "mode",
        "--exclusive",
        "HANDOVER_MODE",
        Kind::OneOf(&["overlap", "exclusive"]),
        "\"overlap\"",
    ),
    key(
        "wire",
        "--wire",
        "HANDOVER_WIRE",
        Kind::OneOf(&["native", "beyond-handoff"]),
        "\"native\"",
    ),
    key(
        "handoff-socket",
        "--handoff-socket",
        "HANDOVER_HANDOFF_SOCKET",
        Kind::Text,
        "",
    ),
    key("zero", "--zero", "HANDOVER_ZERO", Kind::Text, ""),
    key(
        "zero-listener",
        "--zero-listener",
        "HANDOVER_ZERO_LISTENER",
        Kind::Text,
        "",
    ),
    key(
        "ready",
        "--ready",
        "HANDOVER_READY",
        Kind::Readiness,
        "\"auto\"",
    ),
    key(
        "ready-timeout",
        "--ready-timeout",
        "HANDOVER_READY_TIMEOUT",
        Kind::Duration,
        "\"30s\"",
    ),
    key(
        "test-command",
        "--test-command",
        "HANDOVER_TEST_COMMAND",
        Kind::Text,
        "\"\"",
    ),
    key(
        "drain-announce",
        "--drain-announce",
        "HANDOVER_DRAIN_ANNOUNCE",
        Kind::Duration,
        "\"0s\"",
    ),
    key(
        "drain-notify",
        "--drain-notify",
        "HANDOVER_DRAIN_NOTIFY",
        Kind::Duration,
        "\"5s\"",
    ),
    key(
        "drain-grace",
        "--drain-grace",
        "HANDOVER_DRAIN_GRACE",
        Kind::Duration,
        "\"30s\"",
    ),
    key(
        "drain-timeout",
        "--drain-timeout",
        "HANDOVER_DRAIN_TIMEOUT",
        Kind::Duration,
        "\"60s\"",
    ),
    key(
        "seal-timeout",
        "--seal-timeout",
        "HANDOVER_SEAL_TIMEOUT",
        Kind::Duration,
        "\"60s\"",
    ),
    key(
        "activate-timeout",
        "--activate-timeout",
        "HANDOVER_ACTIVATE_TIMEOUT",
        Kind::Duration,
        "\"60s\"",
    ),
    key(
        "resume-timeout",
        "--resume-timeout",
        "HANDOVER_RESUME_TIMEOUT",
        Kind::Duration,
        "\"10s\"",
    ),
    key(
        "stop-signal",
        "--stop-signal",
        "HANDOVER_STOP_SIGNAL",
        Kind::Text,
        "\"TERM\"",
    ),
    key(
        "kill-after",
        "--kill-after",
        "HANDOVER_KILL_AFTER",
        Kind::Duration,
        "\"5s\"",
    ),
    key(
        "probation",
        "--probation",
        "HANDOVER_PROBATION",
        Kind::Duration,
        "\"0s\"",
    ),
    key(
        "fall-back",
        "--fall-back",
        "HANDOVER_FALL_BACK",
        Kind::Duration,
        "\"10s\"",
    ),
    key(
        "max-dark",
        "--max-dark",
        "HANDOVER_MAX_DARK",
        Kind::Duration,
        "\"0s\"",
    ),
    key(
        "restart-limit",
        "--restart-limit",
        "HANDOVER_RESTART_LIMIT",
        Kind::Count,
        "5",
    ),
    key(
        "restart-pause",
        "--restart-pause",
        "HANDOVER_RESTART_PAUSE",
        Kind::Duration,
        "\"100ms\"",
    ),
    key(
        "stderr",
        "--stderr",
        "HANDOVER_STDERR",
        Kind::OneOf(&["capture", "inherit"]),
        "\"capture\"",
    ),
    key(
        "log-file",
        "--log-file",
        "HANDOVER_LOG_FILE",
        Kind::Text,
        "",
    ),
    key(
        "log-at-handover",
        "--log-at-handover",
        "HANDOVER_LOG_AT_HANDOVER",
        Kind::OneOf(&["rename", "append"]),
        "\"rename\"",
    ),
    key(
        "stdout-to-stderr",
        "--stdout-to-stderr",
        "HANDOVER_STDOUT_TO_STDERR",
        Kind::Switch,
        "false",
    ),
    key(
        "keeper",
        "--keeper",
        "HANDOVER_KEEPER",
        Kind::OneOf(&["auto", "always", "never"]),
        "\"auto\"",
    ),
    key(
        "runtime-dir",
        "--runtime-dir",
        "HANDOVER_RUNTIME_DIR",
        Kind::Text,
        "",
    ),
];

/// What only `handover peer` uses, in the order they are shown. The defaults are the library's.
pub(crate) const CONTAINER_KEYS: &[Key] = &[
    key(
        "network-mode",
        "--network-mode",
        "HANDOVER_NETWORK_MODE",
        Kind::OneOf(&["bridge", "host"]),
        "",
    ),
    key(
        "interface",
        "--interface",
        "NETWORK_INTERFACE",
        Kind::Text,
        "",
    ),
    key("volume", "--volume", "HANDOVER_VOLUME", Kind::Text, ""),
    key(
        "key-file",
        "--key-file",
        "HANDOVER_KEY_FILE",
        Kind::Text,
        "",
    ),
    key(
        "legacy",
        "--legacy",
        "HANDOVER_LEGACY",
        Kind::OneOf(&["obey", "announce", "off"]),
        "",
    ),
    key(
        "silence",
        "--silence",
        "HANDOVER_SILENCE",
        Kind::Duration,
        "",
    ),
    key(
        "no-status",
        "--no-status",
        "HANDOVER_NO_STATUS",
        Kind::Switch,
        "",
    ),
    key("complete-file", "--complete-file", "", Kind::Text, ""),
    key(
        "exit-when-done",
        "--exit-when-done",
        "HANDOVER_EXIT_WHEN_DONE",
        Kind::Switch,
        "",
    ),
];

/// Every key of every command.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    KEYS.iter().chain(CONTAINER_KEYS)
}

/// The key of this name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}
