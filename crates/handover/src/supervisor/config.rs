//! Everything a user can set. The TOML form is this type in kebab-case; unknown keys are errors.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use handover_proto::manifest::{ListenerKind, NameError, check_name};
use handover_proto::phase::Mode;
use handover_proto::settings::{Backoff, Ladder, Settings};
use serde::{Deserialize, Serialize};

use super::keeper::KeeperPolicy;

/// A supervisor's configuration. Every field but `program` has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// The service's name; empty: the file stem of the program.
    pub service: String,
    /// Program and arguments. A program without a slash is looked up in `PATH` at every start.
    pub program: Vec<String>,
    /// Listeners, bound by the supervisor and passed to every instance in this order.
    pub listeners: Vec<ListenerSpec>,
    /// Overlap (default) or exclusive.
    pub mode: Mode,
    /// What instances speak besides our own protocol.
    pub wire: Wire,
    /// With [`Wire::BeyondHandoff`]: where an incumbent of theirs listens, as its program has it;
    /// relative to `directory`.
    pub handoff_socket: Option<PathBuf>,
    /// How an instance is found to be ready.
    pub ready: ReadinessSpec,
    /// From start until ready; then the candidate is stopped and the old instance serves on.
    #[serde(with = "duration")]
    pub ready_timeout: Duration,
    /// Retirement: keep accepting for this long after it was announced.
    #[serde(with = "duration")]
    pub drain_announce: Duration,
    /// Retirement: then tell clients to reconnect for this long.
    #[serde(with = "duration")]
    pub drain_notify: Duration,
    /// Retirement: then let requests finish for this long; what is left is cut.
    #[serde(with = "duration")]
    pub drain_grace: Duration,
    /// Exclusive: from drain asked until every write under way is done; then the handover is
    /// aborted and the old instance resumes.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// Exclusive: from seal asked until all is flushed and sent; then the handover is aborted.
    #[serde(with = "duration")]
    pub seal_timeout: Duration,
    /// Exclusive: from activate asked until the new instance serves; then it is killed and the old
    /// one takes back.
    #[serde(with = "duration")]
    pub activate_timeout: Duration,
    /// From resume asked until the old instance serves again; then it is killed and started anew.
    #[serde(with = "duration")]
    pub resume_timeout: Duration,
    /// Between SIGTERM and SIGKILL of an instance that must go, after its drain is over.
    #[serde(with = "duration")]
    pub kill_after: Duration,
    /// Signal that asks an instance without the library to stop gracefully.
    pub stop_signal: String,
    /// The old instance stays able to take back for this long after commit.
    #[serde(with = "duration")]
    pub probation: Duration,
    /// A new version that crashes this soon after its commit is replaced by the previous one.
    #[serde(with = "duration")]
    pub fall_back: Duration,
    /// Exclusive: abort a handover that leaves nobody able to serve for longer. Zero: no budget.
    #[serde(with = "duration")]
    pub max_dark: Duration,
    /// Crashes within a minute after which the supervisor gives up (exit code 13).
    pub restart_limit: u32,
    /// Pause before the second restart in a row; doubles from there up to ten seconds.
    #[serde(with = "duration")]
    pub restart_pause: Duration,
    /// Run by the shell before every upgrade, with the candidate's path in `HANDOVER_CANDIDATE`;
    /// a non-zero exit refuses the upgrade. Empty: none.
    pub test_command: String,
    /// Variables added to every instance's environment.
    pub env: BTreeMap<String, String>,
    /// Working directory of the instances; absent: the supervisor's.
    pub directory: Option<PathBuf>,
    /// What becomes of an instance's standard error.
    pub stderr: StderrPolicy,
    /// Sends the instances' standard output to the supervisor's standard error, because the
    /// supervisor's standard output carries events.
    pub stdout_to_stderr: bool,
    /// Where runtime directories live; absent: see [`super::runtime::root`].
    pub runtime_dir: Option<PathBuf>,
    /// When a process of its own holds the listeners too, for the case that this supervisor dies.
    pub keeper: KeeperPolicy,
    /// The arguments with which this very program calls [`super::keeper::keep`] with the directory
    /// that is added as the last one. Empty: there is no keeper, whatever the policy.
    #[serde(skip)]
    pub keeper_arguments: Vec<String>,
}

/// What becomes of an instance's standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StderrPolicy {
    /// It goes through a file that the supervisor copies to its own standard error, so that the
    /// last lines of an instance that failed can be shown. Survives the supervisor.
    #[default]
    Capture,
    /// The instance writes to the supervisor's standard error itself.
    Inherit,
}

/// What instances speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// Our own protocol, or none.
    #[default]
    Native,
    /// Our own, or that of the crate beyond-handoff (0.1.4): whichever an instance greets in.
    BeyondHandoff,
}

impl Default for Config {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            service: String::new(),
            program: Vec::new(),
            listeners: Vec::new(),
            mode: settings.mode,
            wire: Wire::Native,
            handoff_socket: None,
            ready: ReadinessSpec::Auto,
            ready_timeout: settings.ready,
            drain_announce: settings.ladder.announce,
            drain_notify: settings.ladder.notify,
            drain_grace: settings.ladder.grace,
            drain_timeout: settings.drain,
            seal_timeout: settings.seal,
            activate_timeout: settings.activate,
            resume_timeout: settings.resume,
            kill_after: settings.kill_after,
            stop_signal: "TERM".into(),
            probation: settings.probation,
            fall_back: settings.fall_back,
            max_dark: Duration::ZERO,
            restart_limit: settings.backoff.limit,
            restart_pause: settings.backoff.first,
            test_command: String::new(),
            env: BTreeMap::new(),
            directory: None,
            stderr: StderrPolicy::Capture,
            stdout_to_stderr: false,
            runtime_dir: None,
            keeper: KeeperPolicy::Auto,
            keeper_arguments: Vec::new(),
        }
    }
}

impl Config {
    /// The service's name, derived from the program if it was not set.
    #[must_use]
    pub fn service_name(&self) -> String {
        if !self.service.is_empty() {
            return self.service.clone();
        }
        let program = self.program.first().map(PathBuf::from).unwrap_or_default();
        program
            .file_stem()
            .map_or_else(|| "service".into(), |stem| stem.to_string_lossy().into())
    }

    /// What the machine decides by.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let defaults = Settings::default();
        Settings {
            mode: self.mode,
            ready: self.ready_timeout,
            drain: self.drain_timeout,
            seal: self.seal_timeout,
            activate: self.activate_timeout,
            resume: self.resume_timeout,
            max_dark: (!self.max_dark.is_zero()).then_some(self.max_dark),
            ladder: Ladder {
                announce: self.drain_announce,
                notify: self.drain_notify,
                grace: self.drain_grace,
            },
            kill_after: self.kill_after,
            probation: self.probation,
            fall_back: self.fall_back,
            backoff: Backoff {
                first: self.restart_pause,
                limit: self.restart_limit,
                ..defaults.backoff
            },
        }
    }
}

/// A listener as the user writes it: `NAME=ADDRESS`, where ADDRESS is `HOST:PORT`,
/// `udp:HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenerSpec {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ListenerKind,
    /// `HOST:PORT` or a path.
    pub address: String,
}

/// Why a listener is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenerSpecError {
    /// No `=`.
    #[error("listener {found:?}: expected NAME=ADDRESS, such as http=127.0.0.1:8080")]
    NoName {
        /// What was written.
        found: String,
    },
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The address has no port.
    #[error(
        "listener {name}: address {found:?} has no port; expected HOST:PORT, udp:HOST:PORT or unix:PATH"
    )]
    NoPort {
        /// Its name.
        name: String,
        /// What was written.
        found: String,
    },
    /// The path is empty.
    #[error("listener {name}: unix: needs a path")]
    NoPath {
        /// Its name.
        name: String,
    },
}

impl FromStr for ListenerSpec {
    type Err = ListenerSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = text
            .split_once('=')
            .ok_or_else(|| ListenerSpecError::NoName { found: text.into() })?;
        check_name(name)?;
        let (kind, address) = match address.split_once(':') {
            Some(("unix", path)) => (ListenerKind::Unix, path),
            Some(("udp", rest)) => (ListenerKind::Udp, rest),
            Some(("tcp", rest)) => (ListenerKind::Tcp, rest),
            _ => (ListenerKind::Tcp, address),
        };
        let name = name.to_owned();
        let has_port = address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match kind {
            ListenerKind::Unix if address.is_empty() => Err(ListenerSpecError::NoPath { name }),
            ListenerKind::Tcp | ListenerKind::Udp if !has_port => Err(ListenerSpecError::NoPort {
                name,
                found: address.into(),
            }),
            _ => Ok(Self {
                name,
                kind,
                address: address.into(),
            }),
        }
    }
}

impl fmt::Display for ListenerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            kind,
            address,
        } = self;
        match kind {
            ListenerKind::Tcp => write!(f, "{name}={address}"),
            ListenerKind::Udp | ListenerKind::Unix => write!(f, "{name}={kind}:{address}"),
        }
    }
}

impl TryFrom<String> for ListenerSpec {
    type Error = ListenerSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenerSpec> for String {
    fn from(spec: ListenerSpec) -> Self {
        spec.to_string()
    }
}

/// How an instance is found to be ready: `auto`, `native`, `notify`, `accepts`, `http:PATH`,
/// `http://HOST:PORT/PATH`, `tcp:HOST:PORT` or `command:SHELL COMMAND`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReadinessSpec {
    /// Whichever comes first of native, notify and accepts; a program that greets on its native
    /// channel is expected to say when it is ready.
    #[default]
    Auto,
    /// It says so with the library.
    Native,
    /// It sends `READY=1`.
    Notify,
    /// It accepts a connection on its first TCP listener.
    Accepts,
    /// It answers `GET PATH` on its first TCP listener with 2xx.
    HttpPath(String),
    /// It answers `GET` of this URL with 2xx.
    HttpUrl {
        /// `HOST:PORT`.
        authority: String,
        /// The path.
        path: String,
    },
    /// It accepts a connection at this address.
    Tcp(String),
    /// This command exits with 0. It finds the instance's process id in `HANDOVER_PROBE_PID`.
    Command(String),
}

/// Why a readiness is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "readiness {found:?}: expected auto, native, notify, accepts, http:/PATH, \
     http://HOST:PORT/PATH, tcp:HOST:PORT or command:COMMAND"
)]
pub struct ReadinessSpecError {
    /// What was written.
    pub found: String,
}

impl FromStr for ReadinessSpec {
    type Err = ReadinessSpecError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ReadinessSpecError { found: text.into() };
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "native" => Ok(Self::Native),
                "notify" => Ok(Self::Notify),
                "accepts" => Ok(Self::Accepts),
                _ => Err(wrong()),
            },
            Some(("http", rest)) => match rest.strip_prefix("//") {
                Some(url) => {
                    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
                    let authority = if authority
                        .rsplit(':')
                        .next()
                        .is_some_and(|port| port.parse::<u16>().is_ok())
                    {
                        authority.to_owned()
                    } else {
                        format!("{authority}:80")
                    };
                    Ok(Self::HttpUrl {
                        authority,
                        path: format!("/{path}"),
                    })
                }
                None if rest.starts_with('/') => Ok(Self::HttpPath(rest.into())),
                None => Err(wrong()),
            },
            Some(("tcp", address)) if address.contains(':') => Ok(Self::Tcp(address.into())),
            Some(("command", command)) if !command.trim().is_empty() => {
                Ok(Self::Command(command.into()))
            }
            Some(_) => Err(wrong()),
        }
    }
}

impl fmt::Display for ReadinessSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Native => f.write_str("native"),
            Self::Notify => f.write_str("notify"),
            Self::Accepts => f.write_str("accepts"),
            Self::HttpPath(path) => write!(f, "http:{path}"),
            Self::HttpUrl { authority, path } => write!(f, "http://{authority}{path}"),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Command(command) => write!(f, "command:{command}"),
        }
    }
}

impl TryFrom<String> for ReadinessSpec {
    type Error = ReadinessSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ReadinessSpec> for String {
    fn from(spec: ReadinessSpec) -> Self {
        spec.to_string()
    }
}

/// Durations as people write them: `30s`, `250ms`, `1m 30s`.
mod duration {
    use super::{Deserialize, Duration};
    use serde::{Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text)
            .map_err(|error| D::Error::custom(format!("duration {text:?}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_read_and_print_alike() {
        for text in [
            "http=127.0.0.1:8080",
            "web=[::]:80",
            "dns=udp:0.0.0.0:53",
            "s=unix:/run/x",
        ] {
            assert_eq!(text.parse::<ListenerSpec>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn wrong_listeners_say_what_is_wrong() {
        let wrong = |text: &str| text.parse::<ListenerSpec>().expect_err(text);
        assert!(matches!(wrong("8080"), ListenerSpecError::NoName { .. }));
        assert!(matches!(
            wrong("=x:1"),
            ListenerSpecError::Name(NameError::Empty)
        ));
        assert!(matches!(
            wrong("http=localhost"),
            ListenerSpecError::NoPort { .. }
        ));
        assert!(matches!(
            wrong("http=localhost:99999"),
            ListenerSpecError::NoPort { .. }
        ));
        assert!(matches!(wrong("s=unix:"), ListenerSpecError::NoPath { .. }));
    }

    #[test]
    fn readiness_reads_and_prints_alike() {
        let texts = [
            "auto",
            "native",
            "notify",
            "accepts",
            "http:/healthz",
            "http://127.0.0.1:9000/ok",
            "tcp:127.0.0.1:9000",
            "command:curl -f localhost",
        ];
        for text in texts {
            assert_eq!(text.parse::<ReadinessSpec>().expect(text).to_string(), text);
        }
        for text in ["ready", "http:", "http:path", "tcp:9000", "command:"] {
            text.parse::<ReadinessSpec>().expect_err(text);
        }
    }
}
