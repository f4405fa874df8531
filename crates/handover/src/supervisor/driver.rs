//! The loop: what happened goes into the machine, what the machine wants is done, in order.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use handover_proto::coordinator::{Coordinator, Input};
use handover_proto::event::{EventKind, Readiness};
use handover_proto::identity::{CandidateId, HandoverId, InstanceId, RequestId};
use handover_proto::journal::{Observation, Recovery, Stance, recover};
use handover_proto::message::FromInstance;
use handover_proto::moment::{Machine, Moment};
use handover_proto::outcome::{Exit, Outcome};
use handover_proto::phase::Mode;
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::{HistoryEntry, Status, UpgradeRequest};
use handover_sys::notify::{Notification, NotifySocket};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::adoption::{self, take_listeners};
use super::bus::Bus;
use super::candidate::Candidate;
use super::channel;
use super::config::{Config, ReadinessSpec};
use super::control;
use super::error::{StartError, SuperviseError};
use super::history::History;
use super::notices;
use super::preflight::{CheckReport, PreflightError};
use super::process::Process;
use super::record::{Envelope, Journal};
use super::runtime;
use super::sockets::{self, Listeners};
use super::trigger::Signals;

/// Where the answer to a request goes.
pub(super) type Answer = oneshot::Sender<Outcome>;

/// What can reach the driver.
#[derive(Debug)]
pub(super) enum Command {
    /// A process ended.
    Exited { instance: InstanceId, exit: Exit },
    /// A native instance said something.
    Said {
        instance: InstanceId,
        message: FromInstance,
    },
    /// A native channel broke.
    Closed { instance: InstanceId },
    /// Somebody connected to the native socket.
    Attached { pid: u32, stream: UnixStream },
    /// Somebody sent a notify message.
    Noticed { pid: u32, notice: Notification },
    /// A probe found an instance ready.
    BecameReady {
        instance: InstanceId,
        how: Readiness,
    },
    /// Somebody wants another version.
    Upgrade {
        request: UpgradeRequest,
        answer: Option<Answer>,
    },
    /// The test command of a candidate is over.
    Tested {
        candidate: Box<Candidate>,
        when_busy: WhenBusy,
        verdict: Result<(), PreflightError>,
        answer: Option<Answer>,
    },
    /// Somebody wants the previous version.
    Rollback {
        when_busy: WhenBusy,
        answer: Option<Answer>,
    },
    /// Somebody wants a candidate examined.
    Check {
        request: UpgradeRequest,
        answer: oneshot::Sender<CheckReport>,
    },
    /// Somebody wants the running attempt abandoned.
    Cancel,
    /// Somebody wants the service stopped.
    Stop { how: Stop },
    /// Somebody wants to know.
    Status { answer: oneshot::Sender<Status> },
    /// Somebody wants to know what was.
    History {
        answer: oneshot::Sender<Vec<HistoryEntry>>,
    },
}

/// Everything the supervisor holds.
pub(super) struct Driver {
    pub(super) config: Config,
    pub(super) service: String,
    pub(super) dir: PathBuf,
    pub(super) bus: Bus,
    pub(super) machine: Coordinator,
    pub(super) processes: HashMap<InstanceId, Process>,
    pub(super) candidates: BTreeMap<CandidateId, Candidate>,
    /// Programs of the attempts that run, for the history.
    pub(super) programs: HashMap<HandoverId, String>,
    pub(super) journal: Journal,
    pub(super) history: History,
    pub(super) answers: HashMap<RequestId, Answer>,
    pub(super) last_request: RequestId,
    pub(super) last_candidate: CandidateId,
    pub(super) to_self: UnboundedSender<Command>,
    pub(super) null: File,
    pub(super) exit: Option<u8>,
    pub(super) started: Instant,
    commands: UnboundedReceiver<Command>,
    /// Inputs with the moment of the machine begin here.
    origin: Instant,
    sockets: Option<OwnSockets>,
    /// Held for as long as the supervisor lives; says so to the next one.
    _lock: File,
}

/// The supervisor's own sockets, until they are served.
struct OwnSockets {
    control: UnixListener,
    native: UnixListener,
    notify: NotifySocket,
}

impl Driver {
    pub(super) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// See [`super::Supervisor::new`].
    pub(super) async fn open(config: Config) -> Result<Self, StartError> {
        let service = check(&config)?;
        let root = config.runtime_dir.clone().unwrap_or_else(runtime::root);
        let dir = std::path::absolute(root.join(&service)).unwrap_or_else(|_| root.join(&service));
        for private in [&root, &dir] {
            runtime::create_private(private).map_err(|source| StartError::RuntimeDir {
                dir: private.clone(),
                source,
            })?;
        }
        let lock = lock(&dir, &service)?;
        let mut journal = Journal::in_dir(&dir);
        let found = journal.read();
        let observed = adoption::observe(&dir);
        let recorded = found
            .as_ref()
            .map(|found| found.listeners.as_slice())
            .unwrap_or_default();
        let taken = take_listeners(recorded, &observed)?;
        let listeners = sockets::open_all(&config.listeners, &taken)?;
        let sockets = OwnSockets::open(&dir)?;
        let null = File::open("/dev/null").map_err(|source| StartError::RuntimeDir {
            dir: "/dev/null".into(),
            source,
        })?;

        let bus = Bus::new();
        bus.publish(EventKind::SupervisorStarted {
            service: service.clone(),
            pid: std::process::id(),
        });
        for open in &listeners {
            bus.publish(EventKind::ListenerOpened {
                listener: open.entry.clone(),
            });
        }
        let start = start(&config, found, &observed, taken, listeners)?;
        let (to_self, commands) = mpsc::unbounded_channel();
        let history = History::in_dir(&dir);
        let now = Instant::now();
        let settings = config.settings();
        let incarnation = incarnation();
        let machine = match start.recovery {
            Some(recovery) => Coordinator::recovered(Moment::ZERO, settings, incarnation, recovery),
            None => Coordinator::new(Moment::ZERO, settings, incarnation, start.first),
        };
        let mut driver = Self {
            config,
            service,
            dir,
            bus,
            machine,
            processes: HashMap::new(),
            last_candidate: start.first,
            candidates: start.candidates,
            programs: HashMap::new(),
            journal,
            history,
            answers: HashMap::new(),
            last_request: RequestId(0),
            to_self,
            null,
            exit: None,
            started: now,
            commands,
            origin: now,
            sockets: Some(sockets),
            _lock: lock,
        };
        driver.watch_survivors(&observed);
        Ok(driver)
    }

    /// The service's listeners as the current version has them.
    pub(super) fn listeners(&self) -> Listeners {
        let current = self.candidates.get(&self.machine.current());
        current
            .map(|candidate| candidate.listeners.clone())
            .unwrap_or_default()
    }

    pub(super) fn now(&self) -> Moment {
        let nanos = self.origin.elapsed().as_nanos();
        Moment::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    pub(super) fn tell(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input);
    }

    /// See [`super::Supervisor::run`].
    pub(super) async fn run(mut self) -> Result<u8, SuperviseError> {
        let server = self.serve_sockets().map_err(SuperviseError::Control)?;
        let mut signals = Signals::install().map_err(SuperviseError::Control)?;
        loop {
            self.execute();
            if let Some(code) = self.exit {
                self.close(server).await;
                return Ok(code);
            }
            let deadline = self.machine.next_deadline();
            let wake = async {
                match deadline {
                    Some(at) => {
                        let at = self.origin + std::time::Duration::from_nanos(at.as_nanos());
                        tokio::time::sleep_until(at.into()).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(command) = self.commands.recv() => self.handle(command),
                signal = signals.next() => self.signalled(signal),
                () = wake => self.tell(Input::Tick),
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Exited { instance, exit } => self.tell(Input::Exited { instance, exit }),
            Command::Said { instance, message } => self.said(instance, message),
            Command::Closed { instance } => {
                if let Some(process) = self.processes.get_mut(&instance)
                    && process
                        .link
                        .take()
                        .is_some_and(|_| self.machine.is_native(instance))
                {
                    self.tell(Input::Closed { instance });
                }
            }
            Command::Attached { pid, stream } => self.attached(pid, stream),
            Command::Noticed { pid, notice } => self.noticed(pid, notice),
            Command::BecameReady { instance, how } => {
                self.tell(Input::BecameReady { instance, how });
            }
            Command::Upgrade { request, answer } => self.upgrade(request, answer),
            Command::Tested {
                candidate,
                when_busy,
                verdict,
                answer,
            } => match verdict {
                Ok(()) => self.submit(*candidate, when_busy, answer),
                Err(error) => self.refuse(&error, answer),
            },
            Command::Rollback { when_busy, answer } => self.rollback(when_busy, answer),
            Command::Check { request, answer } => self.check(request, answer),
            Command::Cancel => self.tell(Input::Cancel),
            Command::Stop { how } => self.tell(Input::Stop { how }),
            // Whoever asked may have gone; then nobody wants the answer.
            Command::Status { answer } => {
                let _ = answer.send(self.status());
            }
            Command::History { answer } => {
                let _ = answer.send(self.history.entries());
            }
        }
    }

    fn said(&mut self, instance: InstanceId, message: FromInstance) {
        let spec = self.config.ready.clone();
        let Some(process) = self.processes.get_mut(&instance) else {
            return;
        };
        match &message {
            // It speaks the protocol, so it will say when it is ready.
            FromInstance::Hello { .. } if spec == ReadinessSpec::Auto => process.stop_probe(),
            FromInstance::Connections { open } => process.connections = Some(*open),
            FromInstance::Status { text } => process.text = Some(text.clone()),
            FromInstance::Extend { millis } => {
                let by = std::time::Duration::from_millis(*millis);
                return self.tell(Input::Extend { instance, by });
            }
            FromInstance::Ready { claimed } => {
                let claimed = claimed.clone();
                self.report_unclaimed(instance, &claimed);
                if !counts(&spec, Readiness::Native) {
                    return;
                }
            }
            _ => {}
        }
        self.tell(Input::Said { instance, message });
    }

    fn report_unclaimed(&self, instance: InstanceId, claimed: &[String]) {
        let candidate = self
            .processes
            .get(&instance)
            .map(|process| process.candidate);
        let Some(candidate) = candidate.and_then(|id| self.candidates.get(&id)) else {
            return;
        };
        for open in &candidate.listeners {
            let name = &open.entry.name;
            if !claimed.contains(name) {
                self.bus.publish(EventKind::ListenerUnclaimed {
                    name: name.clone(),
                    instance,
                });
            }
        }
    }

    fn attached(&mut self, pid: u32, stream: UnixStream) {
        let known = self
            .processes
            .iter_mut()
            .find(|(_, process)| process.pid == pid);
        match known {
            Some((&instance, process)) => {
                process.link = Some(channel::open(instance, stream, self.to_self.clone()));
            }
            None => self.bus.warn(format!(
                "process {pid} connected to the native socket and is no instance of this service"
            )),
        }
    }

    fn noticed(&mut self, pid: u32, notice: Notification) {
        let Some(instance) = self.instance_of(pid) else {
            return;
        };
        match notice {
            Notification::Ready if counts(&self.config.ready, Readiness::Notify) => {
                self.tell(Input::BecameReady {
                    instance,
                    how: Readiness::Notify,
                });
            }
            Notification::Status(text) => {
                self.said(instance, FromInstance::Status { text });
            }
            Notification::ExtendTimeout(by) => self.tell(Input::Extend { instance, by }),
            Notification::Ready
            | Notification::Reloading { .. }
            | Notification::Stopping
            | Notification::MainPid(_)
            | Notification::Watchdog
            | Notification::Other(..)
            | Notification::Malformed(_) => {}
        }
    }

    /// The instance a process belongs to: its own, or its worker's.
    fn instance_of(&self, pid: u32) -> Option<InstanceId> {
        let itself = self
            .processes
            .iter()
            .find(|(_, process)| process.pid == pid);
        let (instance, _) = itself.or_else(|| {
            self.processes.iter().find(|(_, process)| {
                handover_sys::process::process_group_members(process.pid)
                    .is_ok_and(|members| members.contains(&pid))
            })
        })?;
        Some(*instance)
    }

    /// Instances that outlived an earlier supervisor are watched like those that this one starts.
    fn watch_survivors(&mut self, observed: &Observation) {
        let members: Vec<_> = self.machine.known().collect();
        for member in members {
            let alive = observed
                .alive
                .iter()
                .find(|(instance, _)| *instance == member.instance);
            let Some((instance, pid)) = alive.copied() else {
                continue;
            };
            self.watch_survivor(instance, member.candidate, pid.0);
        }
    }

    fn serve_sockets(&mut self) -> std::io::Result<control::Server> {
        let sockets = self
            .sockets
            .take()
            .ok_or_else(|| std::io::Error::other("served already"))?;
        notices::serve(sockets.notify, self.to_self.clone())?;
        let (native, to) = (sockets.native, self.to_self.clone());
        tokio::spawn(async move {
            loop {
                match native.accept().await {
                    Ok((stream, _)) => channel::accepted(stream, &to),
                    // Out of descriptors, most likely; instances try again.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                }
            }
        });
        Ok(control::serve(
            sockets.control,
            self.to_self.clone(),
            self.bus.clone(),
        ))
    }

    async fn close(&mut self, server: control::Server) {
        // Commands that are still under way are answered, not cut.
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            if let Command::Status { answer } = command {
                let _ = answer.send(self.status());
            }
        }
        self.answers.clear();
        server.finish().await;
        if self.exit == Some(0) {
            self.journal.remove();
        }
        for name in [
            runtime::CONTROL_SOCKET,
            runtime::NATIVE_SOCKET,
            runtime::NOTIFY_SOCKET,
        ] {
            let _ = std::fs::remove_file(self.dir.join(name));
        }
    }
}

/// Whether a way of becoming ready counts under the configured one.
pub(super) fn counts(spec: &ReadinessSpec, how: Readiness) -> bool {
    match spec {
        ReadinessSpec::Auto => true,
        ReadinessSpec::Native => how == Readiness::Native,
        ReadinessSpec::Notify => how == Readiness::Notify,
        ReadinessSpec::Accepts
        | ReadinessSpec::HttpPath(_)
        | ReadinessSpec::HttpUrl { .. }
        | ReadinessSpec::Tcp(_)
        | ReadinessSpec::Command(_) => !matches!(how, Readiness::Native | Readiness::Notify),
    }
}

fn check(config: &Config) -> Result<String, StartError> {
    if config.program.first().is_none_or(String::is_empty) {
        return Err(StartError::NoProgram);
    }
    if config.mode == Mode::Exclusive {
        return Err(StartError::ExclusiveUnavailable);
    }
    let service = config.service_name();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if service.is_empty() || service.starts_with('.') || !service.chars().all(allowed) {
        return Err(StartError::BadServiceName { found: service });
    }
    if handover_sys::Signal::from_name(&config.stop_signal).is_none() {
        return Err(StartError::BadSignal {
            found: config.stop_signal.clone(),
        });
    }
    for (at, listener) in config.listeners.iter().enumerate() {
        if config.listeners[..at]
            .iter()
            .any(|earlier| earlier.name == listener.name)
        {
            return Err(StartError::DuplicateListener {
                name: listener.name.clone(),
            });
        }
    }
    Ok(service)
}

/// One supervisor a service: the lock is the kernel's, so it ends with its holder.
fn lock(dir: &Path, service: &str) -> Result<File, StartError> {
    let path = dir.join(runtime::LOCK);
    let io = |source| StartError::RuntimeDir {
        dir: path.clone(),
        source,
    };
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&path).unwrap_or_default();
            let pid = if pid.trim().is_empty() {
                "unknown".into()
            } else {
                pid.trim().to_owned()
            };
            return Err(StartError::AlreadyRunning {
                service: service.into(),
                pid,
            });
        }
        Err(std::fs::TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).map_err(io)?;
    std::io::Write::write_all(&mut file, format!("{}\n", std::process::id()).as_bytes())
        .map_err(io)?;
    Ok(file)
}

impl OwnSockets {
    fn open(dir: &Path) -> Result<Self, StartError> {
        let listen = |name: &str| {
            let path = dir.join(name);
            let failed = |source: Box<dyn std::error::Error + Send + Sync>| StartError::Socket {
                path: path.clone(),
                source,
            };
            let listener =
                handover_sys::control::bind_private(&path).map_err(|error| failed(error.into()))?;
            listener
                .set_nonblocking(true)
                .map_err(|error| failed(error.into()))?;
            UnixListener::from_std(listener).map_err(|error| failed(error.into()))
        };
        let path = dir.join(runtime::NOTIFY_SOCKET);
        let notify = NotifySocket::bind(&path).map_err(|error| StartError::Socket {
            path,
            source: error.into(),
        })?;
        let control = listen(runtime::CONTROL_SOCKET)?;
        Ok(Self {
            control,
            native: listen(runtime::NATIVE_SOCKET)?,
            notify,
        })
    }
}

/// What the machine begins with.
struct Start {
    recovery: Option<Recovery>,
    candidates: BTreeMap<CandidateId, Candidate>,
    /// The configured program; the highest number given out.
    first: CandidateId,
}

fn start(
    config: &Config,
    found: Option<Envelope>,
    observed: &Observation,
    taken: Listeners,
    listeners: Listeners,
) -> Result<Start, StartError> {
    let mut candidates = BTreeMap::new();
    let mut last = CandidateId(0);
    for recorded in found.iter().flat_map(|found| &found.candidates) {
        last = last.max(recorded.id);
        let theirs = taken
            .iter()
            .filter(|open| recorded.listeners.contains(&open.entry.name));
        let (argv, path) = (recorded.argv.clone(), recorded.path.clone());
        // A version whose file is gone can still serve; it just cannot be started again.
        if let Ok(candidate) = Candidate::at(recorded.id, argv, path, theirs.cloned().collect()) {
            candidates.insert(recorded.id, candidate);
        }
    }
    let first = last.next();
    let mut recovery = found.map(|found| recover(&found.record, observed));
    let serves = recovery
        .as_ref()
        .is_some_and(|found| found.stance != Stance::Start);
    let directory = config.directory.as_deref();
    match Candidate::find(first, config.program.clone(), directory, listeners) {
        Ok(candidate) => {
            candidates.insert(first, candidate);
        }
        // Somebody serves: a program that is missing now is a matter of the next upgrade.
        Err(_) if serves => {}
        Err(error) => return Err(error.into()),
    }
    if let Some(recovery) = recovery.as_mut()
        && (!serves || !candidates.contains_key(&recovery.current))
    {
        recovery.current = first;
        recovery.previous = recovery.previous.filter(|id| candidates.contains_key(id));
    }
    Ok(Start {
        recovery,
        candidates,
        first,
    })
}

/// A number that distinguishes this supervisor's attempts from an earlier one's.
fn incarnation() -> u32 {
    let millis = super::bus::unix_ms();
    (millis as u32) ^ std::process::id().rotate_left(16)
}
