//! Everything a user can set. The TOML form is this type in kebab-case; unknown keys are errors.

mod listener;
mod readiness;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use handover_proto::phase::Mode;
use handover_proto::settings::{Backoff, Ladder, Settings};
use serde::{Deserialize, Serialize};

use super::keeper::KeeperPolicy;
use super::log::LogPolicy;

pub use listener::{ListenerSpec, ListenerSpecError};
pub use readiness::{ReadinessSpec, ReadinessSpecError};

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
    /// The path of a zero-downtime exchange: who serves there is taken over from, and who asks there
    /// takes over from here.
    pub zero: Option<PathBuf>,
    /// Which listener is exchanged; absent: the only one, or `http`.
    pub zero_listener: Option<String>,
    /// With `zero`: start only if there is somebody to take over from.
    #[serde(skip)]
    pub take: bool,
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
    /// Where the instances' lines go, standard output and standard error alike, instead of to the
    /// supervisor's own. Relative to the supervisor's working directory.
    pub log_file: Option<PathBuf>,
    /// What becomes of that file at a handover.
    pub log_at_handover: LogPolicy,
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
    /// For development: somebody is at the terminal. Instances share it (its input, and the process
    /// group, so that Ctrl-C reaches everybody); what is meant for an instance is said to all its
    /// processes; SIGHUP stops; what fails waits for the next request.
    #[serde(skip)]
    pub attended: bool,
    /// SIGTERM, SIGQUIT and SIGINT are somebody else's in this process, who then asks by
    /// [`Requests::stop`](super::Requests::stop).
    #[serde(skip)]
    pub stopped_by_request: bool,
    /// Passes listeners without `LISTEN_PID`, because the program runs below one that starts it.
    #[serde(skip)]
    pub any_listen_pid: bool,
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
            zero: None,
            zero_listener: None,
            take: false,
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
            log_file: None,
            log_at_handover: LogPolicy::default(),
            stdout_to_stderr: false,
            runtime_dir: None,
            keeper: KeeperPolicy::Auto,
            keeper_arguments: Vec::new(),
            attended: false,
            stopped_by_request: false,
            any_listen_pid: false,
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
            attended: self.attended,
        }
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
