//! Everything that has to be there before the loop begins: the one lock, the listeners, the
//! sockets of the supervisor's own, and what an earlier supervisor left behind.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use handover_proto::coordinator::Coordinator;
use handover_proto::event::EventKind;
use handover_proto::identity::{CandidateId, InstanceId, RequestId};
use handover_proto::journal::{Observation, Recorded, Recovery, Stance, recover};
use handover_proto::moment::Moment;
use handover_sys::notify::NotifySocket;
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use super::account::Account;
use super::adoption::{self, take_kept, take_listeners};
use super::beyond::Foreign;
use super::bus::Bus;
use super::candidate::Candidate;
use super::config::Config;
use super::driver::Driver;
use super::duplicates::{self, SharedListener};
use super::error::StartError;
use super::history::History;
use super::keeper::{self, Keeper};
use super::log::Logs;
use super::record::{Envelope, Journal, RecordedListener};
use super::runtime;
use super::sockets::{self, Listeners};
use super::stranger::{Stranger, Taken};
use super::unit::Unit;
use super::unit::activation::activate;
use super::zero::Approach;
use crate::introduction::Introductions;

/// The supervisor's own sockets, until they are served.
pub(super) struct OwnSockets {
    pub(super) control: UnixListener,
    pub(super) native: UnixListener,
    pub(super) notify: NotifySocket,
}

/// What a supervisor begins with, besides its configuration.
#[derive(Default)]
pub(super) struct Given {
    /// From a service manager.
    pub(super) unit: Unit,
    /// A program that serves already.
    pub(super) adopt: Option<Taken>,
    /// From another supervisor, which holds them too.
    pub(super) shared: Vec<SharedListener>,
}

impl Driver {
    /// See [`super::Supervisor::in_unit`] and [`super::Supervisor::adopt`].
    pub(super) async fn open(mut config: Config, given: Given) -> Result<Self, StartError> {
        let activation = activate(given.unit, &mut config.listeners)?;
        let service = check(&config)?;
        let foreign = Foreign::configured(&config)?;
        let dir = directory(&config, &service)?;
        let lock = lock(&dir, &service)?;
        let (journal, found) = record(&dir);
        let mut observed = survivors(&config, &dir)?;
        let adopting = given.adopt.as_ref().map(|taken| taken.listeners.clone());
        let adopted = stranger(given.adopt, found.as_ref(), &mut observed);
        let mut approach = Approach::begin(&mut config, found.as_ref(), &mut observed).await?;
        let passed = &activation.listeners;
        let (keeper, mut taken) = take_over(&config, &dir, found.as_ref(), &observed, passed)?;
        taken.extend(approach.as_mut().and_then(|zero| zero.listener(&config)));
        // Before those of the same name and address in a journal: these are certain to be its.
        taken.splice(..0, adopting.iter().flatten().cloned());
        let shared = duplicates::opened(given.shared);
        let held = [&passed[..], &taken, &shared].concat();
        let listeners = sockets::open_all(&config.listeners, &held)?;
        let bus = announced(&service, &listeners, &activation.unused);
        let logs = Logs::configured(&config, &dir, &bus, &observed)?;
        let adopts = adopted.as_ref().filter(|_| adopting.is_some());
        let mut start = start(&config, found, &observed, taken, listeners, adopts)?;
        let settle = |zero: &Approach| zero.settle(&mut start.recovery, start.first);
        approach.iter().for_each(settle);
        // Last of what can fail: nobody finds a socket of a supervisor that did not start.
        let sockets = OwnSockets::open(&dir)?;
        let (to_self, commands) = mpsc::unbounded_channel();
        let mut driver = Self {
            machine: coordinator(&config, start.recovery, start.first),
            config,
            service,
            history: History::in_dir(&dir),
            dir,
            bus,
            processes: HashMap::new(),
            last_candidate: start.first,
            candidates: start.candidates,
            attempts: HashMap::new(),
            latest: None,
            introductions: Introductions::default(),
            adopted,
            foreign,
            account: Account::default(),
            watch: None,
            unhealthy: None,
            faults: BTreeMap::new(),
            journal,
            answers: HashMap::new(),
            last_request: RequestId(0),
            to_self,
            null: null()?,
            exit: None,
            commands,
            origin: Instant::now(),
            sockets: Some(sockets),
            keeper,
            zero: None,
            reporter: activation.reporter,
            logs,
            _lock: lock,
        };
        driver.watch_survivors(&observed);
        // Before anybody serves.
        driver.keep_listeners();
        if let Some(approach) = approach {
            approach.attend(&mut driver);
        }
        Ok(driver)
    }

    /// Instances that outlived an earlier supervisor are watched like those that this one starts.
    fn watch_survivors(&mut self, observed: &Observation) {
        let members: Vec<_> = self.machine.known().collect();
        for member in members {
            if self.watch_adopted(member) {
                continue;
            }
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
}

fn null() -> Result<File, StartError> {
    File::open("/dev/null").map_err(|source| StartError::RuntimeDir {
        dir: "/dev/null".into(),
        source,
    })
}

/// The machine, going on from what was found, or starting `first`.
fn coordinator(config: &Config, found: Option<Recovery>, first: CandidateId) -> Coordinator {
    let (settings, incarnation) = (config.settings(), incarnation());
    match found {
        Some(found) => Coordinator::recovered(Moment::ZERO, settings, incarnation, found),
        None => Coordinator::new(Moment::ZERO, settings, incarnation, first),
    }
}

/// The journal, and what an earlier supervisor wrote last.
fn record(dir: &Path) -> (Journal, Option<Envelope>) {
    let mut journal = Journal::in_dir(dir);
    let found = journal.read();
    (journal, found)
}

/// The listeners of an earlier supervisor: `passed` by the service manager, or from its keeper or its
/// instances.
fn take_over(
    config: &Config,
    dir: &Path,
    found: Option<&Envelope>,
    observed: &Observation,
    passed: &Listeners,
) -> Result<(Keeper, Listeners), StartError> {
    let recorded = found.map(|found| found.listeners.as_slice());
    let recorded = recorded.unwrap_or_default();
    let mut kept = keeper::fetch(dir);
    let keeper = Keeper::new(config, dir, !kept.is_empty());
    let is_passed = |listener: &RecordedListener| {
        let same = |open: &&std::sync::Arc<sockets::OpenListener>| open.entry == listener.entry;
        passed.iter().find(same).cloned()
    };
    let mut taken: Listeners = recorded.iter().filter_map(is_passed).collect();
    let others = recorded.iter().filter(|one| is_passed(one).is_none());
    let others: Vec<RecordedListener> = others.cloned().collect();
    taken.extend(take_listeners(&others, observed, &mut kept)?);
    // While an instance lives of which there is no record, its address stays in use: a second one
    // beside it would be one too many.
    if observed.alive.is_empty() {
        taken.extend(take_kept(&config.listeners, &mut kept));
    }
    Ok((keeper, taken))
}

/// The program that is being adopted, or that an earlier supervisor was about to replace. It is
/// among those observed from here on.
fn stranger(
    adopt: Option<Taken>,
    found: Option<&Envelope>,
    observed: &mut Observation,
) -> Option<Stranger> {
    let recorded = found.and_then(|found| found.stranger.clone());
    let stranger = match adopt {
        Some(taken) => {
            let recorded = found.map_or(InstanceId(0), |found| found.record.last_instance);
            let alive = observed.alive.iter().map(|(instance, _)| *instance);
            let last = alive.chain([recorded]).max().unwrap_or(recorded);
            Some(Stranger::new(taken, last))
        }
        None => Stranger::found(recorded),
    };
    if let Some(stranger) = &stranger {
        stranger.show(observed);
    }
    stranger
}

/// Instances that outlived an earlier supervisor. Also whether their log can be written, before
/// anybody gives anything up for this one.
fn survivors(config: &Config, dir: &Path) -> Result<Observation, StartError> {
    let observed = adoption::observe(dir);
    Logs::check(config, &observed)?;
    Ok(observed)
}

/// A bus with the first events on it.
fn announced(service: &str, listeners: &Listeners, unused: &[String]) -> Bus {
    let bus = Bus::new();
    bus.publish(EventKind::SupervisorStarted {
        service: service.to_owned(),
        pid: std::process::id(),
    });
    for open in listeners {
        bus.publish(EventKind::ListenerOpened {
            listener: open.entry.clone(),
        });
    }
    for text in unused {
        bus.warn(text);
    }
    bus
}

fn check(config: &Config) -> Result<String, StartError> {
    if config.program.first().is_none_or(String::is_empty) {
        return Err(StartError::NoProgram);
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

/// The service's runtime directory, there and private.
fn directory(config: &Config, service: &str) -> Result<PathBuf, StartError> {
    let root = config.runtime_dir.clone().unwrap_or_else(runtime::root);
    let dir = root.join(service);
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    for private in [&root, &dir] {
        runtime::create_private(private).map_err(|source| StartError::RuntimeDir {
            dir: private.clone(),
            source,
        })?;
    }
    Ok(dir)
}

/// How long the lock of a dead supervisor may last: a process that it was starting holds a copy of
/// its descriptors until it has become its own program.
const LOCK_OF_THE_DEAD: std::time::Duration = std::time::Duration::from_secs(5);

/// Takes the lock, and waits for that of a holder that is dead.
fn lock_of_the_living(file: &File, path: &Path) -> Result<(), std::fs::TryLockError> {
    let patience = std::time::Instant::now() + LOCK_OF_THE_DEAD;
    loop {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock)
                if holder_is_dead(path) && std::time::Instant::now() < patience =>
            {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            verdict => return verdict,
        }
    }
}

/// Whether the process that wrote its number into the lock file is gone, or a zombie.
fn holder_is_dead(path: &Path) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let Ok(pid) = text.trim().parse::<u32>() else {
        return false;
    };
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" Z")),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
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
    match lock_of_the_living(&file, &path) {
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
    adopts: Option<&Stranger>,
) -> Result<Start, StartError> {
    let mut candidates = BTreeMap::new();
    let mut last = CandidateId(0);
    for recorded in found.iter().flat_map(|found| &found.candidates) {
        last = last.max(recorded.id);
        let theirs = taken
            .iter()
            .filter(|open| recorded.listeners.contains(&open.entry.name));
        let theirs = theirs.cloned().collect();
        let runs = |member: &&Recorded| member.candidate == recorded.id;
        let member = found
            .iter()
            .find_map(|found| found.record.members().find(runs));
        let pid = member.and_then(|member| observed.pid(member.instance));
        // A version whose file is gone can still serve; it just cannot be started again.
        if let Ok(candidate) = Candidate::found(recorded, pid.map(|pid| pid.0), theirs) {
            candidates.insert(recorded.id, candidate);
        }
    }
    let first = last.next();
    let mut recovery = found.map(|found| recover(&found.record, observed));
    if let Some(stranger) = adopts {
        recovery = Some(stranger.incumbent(recovery, first)?);
    }
    let serves = recovery
        .as_ref()
        .is_some_and(|found| found.stance != Stance::Start);
    let directory = config.directory.as_deref();
    match Candidate::find(first, config.program.clone(), directory, listeners) {
        Ok(candidate) => {
            candidates.insert(first, candidate);
        }
        // Somebody serves: a program that is missing now is a matter of the next upgrade.
        Err(_) if serves && adopts.is_none() => {}
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
