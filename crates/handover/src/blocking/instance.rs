//! The handle a program holds on its own part in handovers.

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::identity::InstanceId;
use handover_proto::settings::Ladder;
use tokio::sync::oneshot;

use super::core::Core;
use super::driver::{Driver, Parts};
use super::guard::Guard;
use super::park;
use crate::birth::Birth;
use crate::conduct::Command;
use crate::conversation;
use crate::error::{ReadyError, StartError};
use crate::inheritance::Inheritance;
use crate::ledger::lock;
use crate::log_file::LogFile;
use crate::notice::Notice;
use crate::pool::Unclaimed;
use crate::stage::{Stage, Standing};
use crate::state::StateBudget;
use crate::takeover::{self, Takeover};

/// How long the last handle waits for a report that only has to be sent. It takes the driver one
/// turn; a driver that does not get one must not keep the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// One process of a service: opens its listeners, says when it is ready, and learns when to go.
/// [`crate::Instance`] for programs without an async runtime; see [the module](crate::blocking).
///
/// A cheap handle: clones are the same instance. Call [`Instance::retired`] before returning from
/// `main`, so that the coordinator gets a whole report.
#[derive(Clone, Debug)]
pub struct Instance {
    pub(super) core: Arc<Core>,
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
    notice: Notice,
    id: Option<InstanceId>,
    budget: StateBudget,
    trust_filesystem: bool,
    beside_handoff: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // `main` returns: a drain that has nothing to wait for is over in a moment, and its report
        // would be lost with the process.
        let stage = self.core.standing.borrow().stage;
        if stage >= Stage::Notified && self.core.ledger.tally().open() == 0 {
            let over = |standing: &Standing| standing.stage >= Stage::Over;
            self.core.wait(Some(LAST_WORDS), over);
        }
    }
}

/// How an [`Instance`] is to be started. From [`Instance::builder`].
#[derive(Debug)]
#[must_use = "nothing starts before `start` is called"]
pub struct Builder {
    name: String,
    signals: bool,
    ladder: Option<Ladder>,
    inheritance: Option<Inheritance>,
    budget: StateBudget,
    trust_filesystem: bool,
    handoff_socket: Option<PathBuf>,
    takeover: Option<Takeover>,
}

impl Builder {
    /// Whether SIGTERM and SIGINT begin the drain (a second one cuts it short). By default they
    /// do, from the moment that somebody accepts, receives, or waits for
    /// [`Instance::announced`], [`Instance::draining`] or [`Instance::retired`]; before that the
    /// kernel's default stands. See [the module](crate::blocking#signals) for how.
    pub fn signals(mut self, signals: bool) -> Self {
        self.signals = signals;
        self
    }

    /// The ladder of a drain that begins here, by a signal or [`Instance::drain`]. One that a
    /// coordinator asks for brings its own. By default a coordinator's usual one, and without a
    /// coordinator: notify for 1 s, grace of 30 s.
    pub fn ladder(mut self, ladder: Ladder) -> Self {
        self.ladder = Some(ladder);
        self
    }

    /// How much state may cross in a handover, and how long a seal may take for it. By default
    /// [`StateBudget::default`].
    pub fn state_budget(mut self, budget: StateBudget) -> Self {
        self.budget = budget;
        self
    }

    /// Whether the data directory of [`Instance::own`] may be on a FUSE or unknown filesystem. Say
    /// so only if nothing but this host opens it: otherwise two owners are possible (I1).
    pub fn trust_filesystem(mut self, trust: bool) -> Self {
        self.trust_filesystem = trust;
        self
    }

    /// Takes part in handovers of beyond-handoff (0.1.4), listening on this control socket as
    /// incumbent; as [`crate::Builder::handoff_socket`].
    pub fn handoff_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.handoff_socket = Some(path.into());
        self
    }

    /// Lets the program be replaced without a supervisor; as [`crate::Builder::takeover`].
    pub fn takeover(mut self, takeover: Takeover) -> Self {
        self.takeover = Some(takeover);
        self
    }

    /// What the instance inherits, instead of what the environment says.
    pub fn inherit(mut self, inheritance: Inheritance) -> Self {
        self.inheritance = Some(inheritance);
        self
    }

    /// Starts the instance; see [`Instance::start`].
    ///
    /// # Errors
    /// As [`Instance::start`].
    pub fn start(self) -> Result<Instance, StartError> {
        let mut inheritance = match self.inheritance {
            Some(inheritance) => inheritance,
            None => Inheritance::take()?,
        };
        let control = conversation::control(self.handoff_socket);
        let takeover = self.takeover.filter(|_| control.is_none());
        let host = match takeover {
            Some(takeover) => takeover::open(takeover, &self.name, &mut inheritance, self.ladder)?,
            None => None,
        };
        let birth = Birth::new(
            inheritance,
            self.name,
            control,
            self.ladder,
            host.as_deref(),
        );
        let core = Core::new(birth.name, birth.pool, self.signals, host);
        let (core, ends) = core.map_err(StartError::Driver)?;
        let driver = Driver::new(Parts {
            ends,
            counterpart: birth.counterpart,
            notice: birth.notice,
            ladder: self.ladder,
        })
        .map_err(StartError::Channel)?;
        let thread = thread::Builder::new().name("handover".into());
        let started = thread.spawn(move || driver.run());
        started.map_err(StartError::Driver)?;
        let handle = Arc::new(Handle {
            core: Arc::clone(&core),
            notice: birth.own,
            id: birth.id,
            budget: self.budget,
            trust_filesystem: self.trust_filesystem,
            beside_handoff: birth.beside_handoff,
        });
        Ok(Instance { core, handle })
    }
}

impl Instance {
    /// Starts the instance of a service: takes what was inherited ([`Inheritance::take`]), starts
    /// the thread `handover` and begins to talk to the coordinator, if there is one. `name` is for
    /// people; a coordinator's name for the service takes its place.
    ///
    /// Call it once in a process, early: before threads that run C code are started.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(name: impl Into<String>) -> Result<Self, StartError> {
        Self::builder(name).start()
    }

    /// An instance with other than the usual settings.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder {
            name: name.into(),
            signals: true,
            ladder: None,
            inheritance: None,
            budget: StateBudget::default(),
            trust_filesystem: false,
            handoff_socket: None,
            takeover: None,
        }
    }

    pub(super) fn budget(&self) -> StateBudget {
        self.handle.budget
    }

    /// Whether programs of beyond-handoff may come before or after us.
    pub(super) fn is_beside_handoff(&self) -> bool {
        self.handle.beside_handoff
    }

    pub(super) fn trusts_filesystem(&self) -> bool {
        self.handle.trust_filesystem
    }

    /// Says that the program serves: to the coordinator, which then lets the older instance go, or
    /// by `READY=1` to systemd. Inherited listeners that nobody has asked for are closed first
    /// (I8), with a warning. Returns when it is said, not when the older instance is gone; until
    /// then it waits for the coordinator's welcome, at most 5 s.
    ///
    /// On an error end the process: whoever served before serves on (I5). Connections that were
    /// accepted before are drained until then; with none the error comes at once.
    ///
    /// # Errors
    /// See [`ReadyError`].
    pub fn ready(&self) -> Result<(), ReadyError> {
        self.close_unclaimed();
        let (answer, answered) = oneshot::channel();
        self.core.order(Command::Ready(answer));
        let answer = park::wait(answered, None).and_then(Result::ok);
        answer.unwrap_or(Err(ReadyError::Ended))?;
        self.say_ready().map_err(ReadyError::Notify)
    }

    /// Leaves a copy of a descriptor with systemd (`FDSTORE=1`), as
    /// [`Instance::store`](crate::Instance::store) does. Blocks for up to two seconds.
    ///
    /// # Errors
    /// Nobody hears it; nothing was left.
    pub fn store(&self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        self.handle.notice.store(name, descriptor.as_fd())
    }

    /// To whoever waits for `READY=1`.
    pub(super) fn say_ready(&self) -> io::Result<()> {
        self.handle.notice.ready(None)
    }

    pub(super) fn close_unclaimed(&self) {
        for Unclaimed { name, what } in lock(&self.core.pool).close_unclaimed() {
            tracing::warn!(
                name,
                what,
                "inherited, but not used by this program; closed"
            );
        }
    }

    /// Waits until the coordinator has made this instance the one that serves; without a
    /// coordinator, until it is ready. From here nothing is taken back (I6).
    pub fn committed(&self) {
        self.core.wait(None, |standing| standing.committed);
    }

    /// [`Instance::committed`], at most this long; whether it is so.
    pub fn committed_within(&self, within: Duration) -> bool {
        let committed = |standing: &Standing| standing.committed;
        self.core.wait(Some(within), committed).is_some()
    }

    /// Waits until the instance is about to stop accepting but still does: readiness probes of
    /// load balancers should fail from here.
    pub fn announced(&self) {
        self.reached(Stage::Announced, None);
    }

    /// [`Instance::announced`], at most this long; whether it is so.
    pub fn announced_within(&self, within: Duration) -> bool {
        self.reached(Stage::Announced, Some(within)).is_some()
    }

    /// Waits until servers should finish requests in flight and close idle connections. The
    /// listeners have stopped by then, and clients were asked to reconnect; at once when no
    /// connection is open.
    pub fn draining(&self) {
        self.reached(Stage::Grace, None);
    }

    /// [`Instance::draining`], at most this long; whether it is so. Zero asks without waiting.
    pub fn draining_within(&self, within: Duration) -> bool {
        self.reached(Stage::Grace, Some(within)).is_some()
    }

    /// Waits until the drain is over, and says what it achieved. Then return from `main`.
    pub fn retired(&self) -> DrainReport {
        let over = self.reached(Stage::Over, None);
        // Without a time-out there is always an answer.
        over.unwrap_or_default().report
    }

    /// [`Instance::retired`], at most this long.
    pub fn retired_within(&self, within: Duration) -> Option<DrainReport> {
        let over = self.reached(Stage::Over, Some(within));
        over.map(|standing| standing.report)
    }

    fn reached(&self, stage: Stage, within: Option<Duration>) -> Option<Standing> {
        self.core.watch_signals();
        let reached = move |standing: &Standing| standing.stage >= stage;
        self.core.wait(within, reached)
    }

    /// Begins to drain, as SIGTERM does: by the ladder of the builder. A second call cuts what is
    /// left of it short. Returns at once.
    pub fn drain(&self) {
        self.core.order(Command::Drain(None));
    }

    /// Begins to drain by this ladder. Does nothing when a drain has begun.
    pub fn drain_by(&self, ladder: Ladder) {
        self.core.order(Command::Drain(Some(ladder)));
    }

    /// Counts a piece of work as a connection, for as long as the guard lives.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::new(Arc::clone(&self.core))
    }

    /// Connections and guards open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.core.ledger.tally().open()
    }

    /// How far its drain has come.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.core.standing.borrow().stage
    }

    /// Opens a log file that follows the rule of a handover: an older instance that writes to it keeps
    /// its file, which is renamed to `PATH.TIME` when this one is committed; this one's lines, also
    /// those from before, are in a new file at `path` from then on. Until then they are in
    /// `PATH.PID.coming`, and stay there if it never serves. A file that nobody writes to is
    /// appended to. Open it once and clone it. Both instances must use this, or [`LogFile::open`]: that a file has a writer is
    /// known by its lock (flock(2), shared).
    ///
    /// An instance that takes back after its successor was committed writes on to the renamed file.
    ///
    /// # Errors
    /// As [`LogFile::open`].
    pub fn log_file(&self, path: impl Into<PathBuf>) -> io::Result<LogFile> {
        self.core.log_file(path.into())
    }

    /// Tells people what it does, in one line: through the coordinator, or `STATUS=` of systemd.
    pub fn status(&self, text: impl Into<String>) {
        self.core.order(Command::Status(text.into()));
    }

    /// Asks for this much more time, from now, for what it does: through the coordinator, or
    /// `EXTEND_TIMEOUT_USEC=` of systemd.
    pub fn extend(&self, by: Duration) {
        self.core.order(Command::Extend(by));
    }

    /// The name of the service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Its number, when a coordinator started it or it may be taken over.
    #[must_use]
    pub fn id(&self) -> Option<InstanceId> {
        self.handle.id
    }

    /// Whether clients should be asked to reconnect now, by `Connection: close` on the next answer
    /// of an HTTP/1 server, so that none of them finds its connection closed under its next
    /// request.
    #[must_use]
    pub fn asks_to_reconnect(&self) -> bool {
        self.core.asks_to_reconnect()
    }
}
