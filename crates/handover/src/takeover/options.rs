//! What a program says about taking over and being taken over.

use std::path::PathBuf;
use std::time::Duration;

use handover_proto::phase::Mode;
use handover_proto::settings::{Ladder, Settings};

/// Lets a program without a supervisor be replaced with nothing dropped: by itself, and by a
/// successor that anybody starts. Given to [`Builder::takeover`](crate::Builder::takeover); see
/// [the module](crate::takeover).
///
/// Without effect where a supervisor started the program: that one decides then.
#[derive(Clone, Debug)]
#[must_use = "give it to `Instance::builder(…).takeover(…)`"]
pub struct Takeover {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) signals: bool,
    pub(crate) pid_file: Option<PathBuf>,
    ready: Duration,
    max_dark: Option<Duration>,
    probation: Duration,
}

impl Default for Takeover {
    fn default() -> Self {
        Self::new()
    }
}

impl Takeover {
    /// The usual: the socket `takeover.sock` in the service's runtime directory
    /// (`$HANDOVER_RUNTIME_DIR`, `/run/handover` for root, `$XDG_RUNTIME_DIR/handover`, else
    /// `/tmp/handover-UID`), signals, no pid file, no probation.
    pub fn new() -> Self {
        let usual = Settings::default();
        Self {
            socket: None,
            signals: true,
            pid_file: None,
            ready: usual.ready,
            max_dark: usual.max_dark,
            probation: usual.probation,
        }
    }

    /// Where the incumbent listens and a successor looks for it. Bound with mode 0600 in place of
    /// nothing or of a socket that nobody serves; whatever else is there is left alone. A missing
    /// directory is created, for this user only.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// Whether SIGHUP and SIGUSR2 start the program again, from its path and with its arguments, to
    /// take over from this process. By default they do. SIGINT never does.
    ///
    /// The handlers are installed by [`Builder::start`](crate::Builder::start), so that neither
    /// ends the process.
    pub fn signals(mut self, signals: bool) -> Self {
        self.signals = signals;
        self
    }

    /// A file that holds the process id of whoever serves: written in one step when a process
    /// becomes the incumbent, before the one before it ends, and removed by the last one.
    pub fn pid_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.pid_file = Some(path.into());
        self
    }

    /// How long a successor may take to become ready (with [`Instance::own`](crate::Instance::own):
    /// until it is warm). By default 30 s.
    pub fn ready_within(mut self, ready: Duration) -> Self {
        self.ready = ready;
        self
    }

    /// The longest pause of a handover between two owners of data; one that takes longer is
    /// aborted. By default there is no such limit.
    pub fn max_dark(mut self, max_dark: Duration) -> Self {
        self.max_dark = Some(max_dark);
        self
    }

    /// For how long the old process stays able to take back after the new one took over: it does
    /// when the new one ends in that time, or on request. By default not at all.
    pub fn probation(mut self, probation: Duration) -> Self {
        self.probation = probation;
        self
    }

    pub(crate) fn settings(&self, mode: Mode, ladder: Option<Ladder>) -> Settings {
        Settings {
            mode,
            ready: self.ready,
            max_dark: self.max_dark,
            probation: self.probation,
            ladder: ladder.unwrap_or_default(),
            ..Settings::default()
        }
    }
}
