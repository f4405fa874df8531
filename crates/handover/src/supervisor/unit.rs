//! The supervisor as a service of systemd: what the service manager passes, and what it is told.
//!
//! | file | what |
//! |---|---|
//! | `activation` | listeners that were passed, held against those that are configured |
//! | `standing` | what there is to say, and when |
//! | `herald` | a thread that says it, because saying it may block |
//! | `store` | listeners left with the service manager, which outlive every process of ours |

pub(super) mod activation;
mod herald;
mod standing;
mod store;

use std::ffi::OsString;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use handover_proto::event::EventKind;
use handover_proto::phase::Phase;
use handover_sys::inherited::{self, InheritError, Inherited, InheritedFile};
use tokio::time::Instant;

use super::driver::Driver;
use super::sockets::OpenListener;
use crate::notice::{Watchdog, socket_of_environment};
use herald::Herald;
use standing::{Facts, Standing};
use store::Store;

/// How often the service manager is asked for more time while something goes on.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// How much it is asked for: a supervisor that is held up for less keeps its service.
const EXTENSION: Duration = Duration::from_secs(20);

/// What a service manager gave this process: listeners, and where to report.
///
/// `Unit::default()` is what a process has that nobody manages.
#[derive(Debug, Default)]
pub struct Unit {
    listeners: Vec<Inherited>,
    files: Vec<InheritedFile>,
    notify: Option<OsString>,
    watchdog: Option<Watchdog>,
}

impl Unit {
    /// Takes the `LISTEN_FDS` block of this process and removes its variables; reads
    /// `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` (sd_listen_fds(3), sd_notify(3),
    /// sd_watchdog_enabled(3)).
    ///
    /// Call it first in `main`, before another thread exists: see
    /// [`handover_sys::inherited::take`].
    ///
    /// # Errors
    /// The block is not what its variables say; nothing has changed.
    pub fn take() -> Result<Self, InheritError> {
        let (listeners, files) = inherited::take_with_files()?;
        Ok(Self {
            listeners,
            files,
            notify: socket_of_environment(),
            watchdog: Watchdog::from_environment(),
        })
    }

    /// Adds a listener, as if it had been passed under `name`.
    ///
    /// # Errors
    /// It is not a socket, or the kernel does not say what it is; it is closed.
    pub fn listener(mut self, name: impl Into<String>, fd: OwnedFd) -> std::io::Result<Self> {
        self.listeners.push(Inherited::new(name, fd)?);
        Ok(self)
    }

    /// Makes this the socket to report to, written as in `NOTIFY_SOCKET`.
    #[must_use]
    pub fn notify(mut self, socket: impl Into<OsString>) -> Self {
        self.notify = Some(socket.into());
        self
    }
}

/// What is reported, while the supervisor runs.
pub(super) struct Reporter {
    herald: Herald,
    standing: Standing,
    store: Store,
    watchdog: Option<Watchdog>,
    extend_at: Instant,
}

impl Reporter {
    fn new(notify: Option<OsString>, watchdog: Option<Watchdog>, store: Store) -> Self {
        Self {
            herald: Herald::start(notify),
            standing: Standing::default(),
            store,
            watchdog,
            extend_at: Instant::now(),
        }
    }

    /// Resolves when something is to be said although nothing happened. Cancel-safe.
    pub(super) async fn due(&self) {
        let extend = self.standing.is_busy().then_some(self.extend_at);
        let ping = self.watchdog.map(|watchdog| watchdog.next_at().into());
        match extend.into_iter().chain(ping).min() {
            Some(at) if self.herald.is_heard() => tokio::time::sleep_until(at).await,
            Some(_) | None => pending().await,
        }
    }
}

impl Driver {
    /// Tells the service manager what happened.
    pub(super) fn herald(&mut self, kind: &EventKind) {
        if let Some(text) = self.reporter.standing.learn(kind) {
            self.reporter.herald.say(text);
        }
    }

    /// Tells it how things stand, if that has changed, and leaves the listeners with it. Costs
    /// nothing while all is the same.
    pub(super) fn report_standing(&mut self) {
        let facts = self.facts();
        let program = self.candidates.get(&self.machine.current());
        let program = program.map(|program| program.label()).unwrap_or_default();
        let reporter = &mut self.reporter;
        if let Some(text) = reporter.standing.look(facts, &program) {
            reporter.herald.say(text);
        }
        if !reporter.herald.is_heard() {
            return;
        }
        let mut listeners: Vec<&Arc<OpenListener>> = Vec::new();
        for open in self.candidates.values().flat_map(|c| &c.listeners) {
            if !listeners.iter().any(|known| Arc::ptr_eq(known, open)) {
                listeners.push(open);
            }
        }
        reporter.store.keep(&listeners, &reporter.herald);
    }

    fn facts(&self) -> Facts {
        let incumbent = self.machine.incumbent();
        Facts {
            incumbent: incumbent.map(|member| member.instance),
            attempt: self.machine.attempt().is_some(),
            stopping: self.machine.phase() == Phase::Stop,
        }
    }

    /// It is time to say that this loop turns and that somebody serves, or that it takes longer.
    pub(super) fn report_life(&mut self) {
        let facts = self.facts();
        let reporter = &mut self.reporter;
        let now = Instant::now();
        if let Some(watchdog) = &mut reporter.watchdog
            && watchdog.is_due()
            // Through a swap somebody serves, or is about to.
            && (facts.incumbent.is_some() || facts.attempt || facts.stopping)
        {
            reporter.herald.say("WATCHDOG=1".into());
        }
        if reporter.standing.is_busy() && reporter.extend_at <= now {
            reporter.extend_at = now + EXTEND_EVERY;
            let micros = EXTENSION.as_micros();
            reporter.herald.say(format!("EXTEND_TIMEOUT_USEC={micros}"));
        }
    }

    /// The last words, and the end of the thread that says them.
    pub(super) fn fall_silent(&mut self) {
        let code = self.exit.unwrap_or_default();
        if code == 0 {
            self.reporter.store.forget_paths(&self.reporter.herald);
        }
        self.reporter.herald.end();
    }
}
