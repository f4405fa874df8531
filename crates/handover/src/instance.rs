//! The handle a program holds on its own part in handovers.

pub(crate) mod open;
mod own;

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::identity::InstanceId;
use handover_proto::settings::Ladder;
use tokio::sync::{mpsc, oneshot};

use crate::birth::Birth;
use crate::conduct::Command;
use crate::conversation;
use crate::core::Core;
use crate::driver::{Driver, Order};
use crate::error::{ReadyError, StartError};
use crate::guard::Guard;
use crate::inheritance::Inheritance;
use crate::ledger::lock;
use crate::log_file::LogFile;
use crate::notice::Notice;
use crate::pool::Unclaimed;
use crate::signals;
use crate::stage::{Stage, Standing, wait};
use crate::state::StateBudget;
use crate::takeover::{self, Takeover, TakeoverError};

/// One process of a service: opens its listeners, says when it is ready, and learns when to go.
///
/// The same program runs by hand, under systemd, under `handover run`, and as a successor:
///
/// ```no_run
/// # async fn serve(_: handover::Listener) {}
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let instance = handover::Instance::start("web").await?;
/// let listener = instance.tcp("http", "0.0.0.0:8080").await?;
/// let server = tokio::spawn(serve(listener));
/// instance.ready().await?;
/// instance.draining().await;
/// # server.abort();
/// # Ok(())
/// # }
/// ```
///
/// A cheap handle: clones are the same instance.
#[derive(Clone, Debug)]
pub struct Instance {
    core: Arc<Core>,
    orders: mpsc::UnboundedSender<Order>,
    notice: Notice,
    id: Option<InstanceId>,
    signals: bool,
    runtime: tokio::runtime::Handle,
    budget: StateBudget,
    trust_filesystem: bool,
    beside_handoff: bool,
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
    /// do, from the moment that somebody waits for [`Instance::announced`],
    /// [`Instance::draining`] or [`Instance::retired`]; before that the kernel's default stands.
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

    /// Takes part in handovers of beyond-handoff (0.1.4): as incumbent the instance listens on this
    /// control socket, which it binds with mode 0600 when it is the owner of its data, in place of
    /// whatever is there; only its own user and root are talked to. By default the path in
    /// `HANDOVER_HANDOFF_SOCKET`, else none. Without effect beside a coordinator of ours.
    ///
    /// State items do not cross there: what a successor needs must be in the data directory.
    pub fn handoff_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.handoff_socket = Some(path.into());
        self
    }

    /// Lets the program be replaced without a supervisor: it takes over from whoever serves at the
    /// takeover socket when it starts, and hands over to a successor later; see
    /// [`takeover`](crate::takeover). Without effect where a supervisor started the program, and
    /// beside [`Builder::handoff_socket`].
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
    pub async fn start(self) -> Result<Instance, StartError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let mut inheritance = match self.inheritance {
            Some(inheritance) => inheritance,
            None => Inheritance::take()?,
        };
        let control = conversation::control(self.handoff_socket);
        let takeover = self.takeover.filter(|_| control.is_none());
        let (inheritance, host) = match takeover {
            Some(takeover) => {
                let (name, ladder) = (self.name.clone(), self.ladder);
                // It waits for an incumbent, for some seconds if that one is stuck.
                let opened = tokio::task::spawn_blocking(move || {
                    let host = takeover::open(takeover, &name, &mut inheritance, ladder)?;
                    Ok::<_, TakeoverError>((inheritance, host))
                });
                opened.await.map_err(|_| StartError::NoRuntime)??
            }
            None => (inheritance, None),
        };
        let birth = Birth::new(
            inheritance,
            self.name,
            control,
            self.ladder,
            host.as_deref(),
        );
        let core = Core::new(birth.name, birth.pool, host);
        let (orders, received) = mpsc::unbounded_channel();
        let driver = Driver::new(
            Arc::clone(&core),
            birth.counterpart,
            birth.notice,
            self.ladder,
            received,
        )
        .map_err(StartError::Channel)?;
        runtime.spawn(driver.run());
        Ok(Instance {
            core,
            orders,
            notice: birth.own,
            id: birth.id,
            signals: self.signals,
            runtime,
            budget: self.budget,
            trust_filesystem: self.trust_filesystem,
            beside_handoff: birth.beside_handoff,
        })
    }
}

impl Instance {
    /// Starts the instance of a service: takes what was inherited
    /// ([`Inheritance::take`]) and begins to talk to the coordinator, if there is one. `name` is
    /// for people; a coordinator's name for the service takes its place.
    ///
    /// Call it once in a process, early, inside a tokio runtime with I/O and time enabled. The
    /// runtime carries the conversation: the instance ends with it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(name: impl Into<String>) -> Result<Self, StartError> {
        Self::builder(name).start().await
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

    /// Says that the program serves: to the coordinator, which then lets the older instance go, or
    /// by `READY=1` to systemd. Inherited listeners that nobody has asked for are closed first
    /// (I8), with a warning. Resolves when it is said, not when the older instance is gone.
    ///
    /// On an error end the process: whoever served before serves on (I5). Connections that were
    /// accepted before are drained until then; with none the error comes at once.
    ///
    /// # Cancel safety
    /// When cancelled, readiness may or may not have been said.
    ///
    /// # Errors
    /// See [`ReadyError`].
    pub async fn ready(&self) -> Result<(), ReadyError> {
        self.close_unclaimed();
        let (answer, answered) = oneshot::channel();
        self.order(Command::Ready(answer));
        answered.await.unwrap_or(Err(ReadyError::Ended))?;
        let told = self.notice.say("READY=1".into()).await;
        told.map_err(ReadyError::Notify)
    }

    fn close_unclaimed(&self) {
        for Unclaimed { name, what } in lock(&self.core.pool).close_unclaimed() {
            tracing::warn!(
                name,
                what,
                "inherited, but not used by this program; closed"
            );
        }
    }

    /// Resolves when the coordinator has made this instance the one that serves; without a
    /// coordinator, when it is ready. From here nothing is taken back (I6).
    pub fn committed(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.until(|standing| standing.committed)
    }

    /// Resolves when the instance is about to stop accepting but still does: readiness probes of
    /// load balancers should fail from here.
    pub fn announced(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.watch_signals();
        self.until(|standing| standing.stage >= Stage::Announced)
    }

    /// Resolves when servers should shut down gracefully: finish requests in flight, close idle
    /// connections. The listeners have stopped by then, and clients were asked to reconnect; at
    /// once when no connection is open. To be given to `with_graceful_shutdown` and the like.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        self.watch_signals();
        self.until(|standing| standing.stage >= Stage::Grace)
    }

    /// Resolves with what the drain achieved, when it is over. Then return from `main`.
    pub fn retired(&self) -> impl Future<Output = DrainReport> + Send + Sync + 'static {
        self.watch_signals();
        let over = wait(self.core.standing.subscribe(), |standing| {
            standing.stage >= Stage::Over
        });
        async move { over.await.report }
    }

    /// Begins to drain, as SIGTERM does: by the ladder of the builder. A second call cuts what is
    /// left of it short.
    pub fn drain(&self) {
        self.order(Command::Drain(None));
    }

    /// Begins to drain by this ladder. Does nothing when a drain has begun.
    pub fn drain_by(&self, ladder: Ladder) {
        self.order(Command::Drain(Some(ladder)));
    }

    /// Counts a piece of work as a connection, for as long as the guard lives.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::new(self.core.ledger.open(), self.core.standing.subscribe())
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
        self.order(Command::Status(text.into()));
    }

    /// Asks for this much more time, from now, for what it does: through the coordinator, or
    /// `EXTEND_TIMEOUT_USEC=` of systemd.
    pub fn extend(&self, by: Duration) {
        self.order(Command::Extend(by));
    }

    /// Leaves a copy of a descriptor with systemd (`FDSTORE=1`): a listener, or memory with state.
    /// Even if this process crashes, the next one of the service finds it under this name, by
    /// [`Instance::claim`] or as a listener. The unit needs `FileDescriptorStoreMax=`; systemd does
    /// not say when there is no room. Does nothing without systemd, and under a supervisor.
    ///
    /// # Cancel safety
    /// When cancelled, it may or may not have been left.
    ///
    /// # Errors
    /// Nobody hears it; nothing was left.
    pub async fn store(&self, name: &str, descriptor: impl AsFd) -> io::Result<()> {
        let descriptor = descriptor.as_fd().try_clone_to_owned()?;
        let (notice, name) = (self.notice.clone(), name.to_owned());
        let left = self
            .runtime
            .spawn_blocking(move || notice.store(&name, descriptor.as_fd()));
        left.await.map_err(io::Error::other)?
    }

    /// The name of the service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Its number, when a coordinator started it or it may be taken over.
    #[must_use]
    pub const fn id(&self) -> Option<InstanceId> {
        self.id
    }

    /// Whether clients should be asked to reconnect now: what the reconnect layer (feature `axum`)
    /// looks at for every answer, for servers that have no layers.
    #[must_use]
    pub fn asks_to_reconnect(&self) -> bool {
        self.core.asks_to_reconnect()
    }

    /// Puts `Connection: close` on the answers of an HTTP/1 server while clients are to be asked
    /// to reconnect, so that none of them finds its connection closed under its next request.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn reconnect_layer(&self) -> crate::reconnect::ReconnectLayer {
        crate::reconnect::ReconnectLayer::new(Arc::clone(&self.core))
    }

    /// Lets in requests that write only while this instance owns the data ([`Instance::own`]), and
    /// passes them on to the new owner afterwards.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn owner_layer(&self) -> crate::owner::OwnerLayer {
        crate::owner::OwnerLayer::new(Arc::clone(&self.core))
    }

    fn until(
        &self,
        reached: impl Fn(&Standing) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + Sync + 'static {
        let reached = wait(self.core.standing.subscribe(), reached);
        async move {
            reached.await;
        }
    }

    fn watch_signals(&self) {
        if !self.signals {
            return;
        }
        // Here, not in the driver's turn: whoever is told to drain may be signalled at once.
        let _context = self.runtime.enter();
        match signals::install() {
            Ok(streams) => drop(self.orders.send(Order::WatchSignals(streams))),
            Err(error) => {
                tracing::warn!(%error, "SIGTERM and SIGINT cannot be handled; they will not drain");
            }
        }
    }

    fn order(&self, command: Command) {
        // The driver ends only with the runtime, and then nobody waits for an answer.
        let _ = self.orders.send(Order::Obey(command));
    }
}
