//! Taking over, and being taken over from, by the exchange of the Go program zero-downtime
//! ([`handover_proto::zero`]).
//!
//! Whoever serves at the path becomes the incumbent of an ordinary handover, as an instance that was
//! found; it is only never signalled. Where its listener can be duplicated, the request is said where
//! another incumbent would get SIGTERM: after the commit, or after the probation. So a version that
//! fails leaves it serving. Where not, the exchange comes first, and this service starts as any other.
//!
//! | file | what |
//! |---|---|
//! | `arrival` | who serves at the path, and how their listener is had |
//! | `taking` | the connection to them |
//! | `giving` | the path on which others take over from here |

mod arrival;
mod error;
mod giving;
mod taking;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use handover_proto::coordinator::{Input, Signal};
use handover_proto::event::EventKind;
use handover_proto::identity::{CandidateId, InstanceId, InstancePid};
use handover_proto::journal::{Observation, Recorded, Recovery, Stance};
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_proto::outcome::{Exit, Outcome};
use handover_proto::phase::{Mode, Phase};
use handover_proto::settings::Stop;
use handover_proto::status::UpgradeRequest;
use handover_proto::zero::{Step, Way};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::candidate;
use super::config::{Config, ListenerSpec};
use super::driver::{Command, Driver};
use super::preflight;
use super::record::Envelope;
use super::sockets::OpenListener;
use arrival::{Arrival, Had};
use giving::Offer;
use taking::{Line, Word};

pub(super) use arrival::command_line;
pub use error::ZeroError;

/// What a listener is called that nobody named.
const NAME: &str = "http";

/// How long after its connection ended a process that was killed is seen to have ended.
const UNTIL_GONE: Duration = Duration::from_millis(500);

/// What can reach the driver.
#[derive(Debug)]
pub(super) enum News {
    /// The attempt to take over is over.
    Attempted(Outcome),
    /// What became of the connection to the incumbent.
    Taking(taking::News),
    /// The incumbent closed the connection a while ago, unasked.
    TurnedAway,
    /// Somebody is to be given the listener.
    Asked {
        answer: oneshot::Sender<Result<std::os::fd::OwnedFd, String>>,
    },
    /// It was given.
    Given,
    /// Whoever was given it has had its time.
    Retire,
}

/// The exchange of a service, before its driver is there.
pub(super) struct Approach {
    path: PathBuf,
    name: String,
    /// The listener that was had, and who serves.
    had: Option<Had>,
    /// The connection to who serves, if it was not asked yet.
    stream: Option<UnixStream>,
    /// The number of who serves.
    instance: Option<InstanceId>,
}

impl Approach {
    /// Looks who serves at the configured path, if one is. Adds the listener to `config` and its
    /// process to `observed`.
    pub(super) async fn begin(
        config: &mut Config,
        found: Option<&Envelope>,
        observed: &mut Observation,
    ) -> Result<Option<Self>, super::StartError> {
        let Some(path) = config.zero.clone() else {
            return Ok(None);
        };
        let name = listener_name(config)?;
        // The plain exchange cannot be taken back, so what can be known before is looked at before.
        let program = config.program.first().cloned().unwrap_or_default();
        preflight::inspect(&candidate::locate(&program, config.directory.as_deref())?)?;
        let wanted = config.listeners.iter().find(|spec| spec.name == name);
        let mut approach = Self {
            path: path.clone(),
            name: name.clone(),
            had: None,
            stream: None,
            instance: None,
        };
        match arrival::arrive(&path, wanted).await? {
            Arrival::Vacant { stale } if config.take => {
                return Err(ZeroError::NobodyServes { path, stale }.into());
            }
            Arrival::Vacant { .. } if wanted.is_none() => {
                return Err(ZeroError::NothingToBind { path }.into());
            }
            Arrival::Vacant { .. } => return Ok(Some(approach)),
            Arrival::Given(had) => approach.had = Some(had),
            Arrival::Serving(serving) => {
                let pid = InstancePid(serving.had.pid);
                let instance = number(found, observed, pid);
                observed.alive.push((instance, pid));
                approach.instance = Some(instance);
                approach.had = Some(serving.had);
                approach.stream = Some(serving.stream);
            }
        }
        if let (Some(had), None) = (&approach.had, wanted) {
            config.listeners.push(ListenerSpec {
                name,
                kind: ListenerKind::Tcp,
                address: had.address.to_string(),
            });
        }
        Ok(Some(approach))
    }

    /// The listener that was had, once.
    pub(super) fn listener(&mut self, config: &Config) -> Option<Arc<OpenListener>> {
        let duplicate = self.had.as_ref()?.fd.try_clone().ok()?;
        let spec = config
            .listeners
            .iter()
            .find(|spec| spec.name == self.name)?;
        let entry = ListenerEntry {
            name: self.name.clone(),
            kind: ListenerKind::Tcp,
            address: self.had.as_ref()?.address.to_string(),
        };
        Some(Arc::new(OpenListener::adopted(
            spec.clone(),
            entry,
            duplicate,
        )))
    }

    /// Puts who serves into what the machine begins with. `first` is the new version.
    pub(super) fn settle(&self, recovery: &mut Option<Recovery>, first: CandidateId) {
        let (Some(instance), Some(had)) = (self.instance, &self.had) else {
            return;
        };
        // As if it ran the new version: what it runs cannot be started, so there is nothing to fall
        // back to.
        let incumbent = Recorded {
            instance,
            candidate: first,
            pid: Some(InstancePid(had.pid)),
        };
        let found = recovery.get_or_insert_with(|| Recovery {
            stance: Stance::Start,
            retire: vec![incumbent],
            kill: Vec::new(),
            generation: handover_proto::identity::Generation(0),
            last_instance: instance,
            current: first,
            previous: None,
        });
        // With an instance of ours that serves, it is only to go.
        if found.stance == Stance::Start {
            found.retire.retain(|member| member.instance != instance);
            found.stance = Stance::Serve(incumbent);
            found.current = first;
        }
    }

    /// From here the driver goes on.
    pub(super) fn attend(self, driver: &mut Driver) {
        let Self {
            path,
            name,
            had,
            stream,
            instance,
        } = self;
        let pid = had.as_ref().map_or(0, |had| had.pid);
        let mut zero = Zero {
            path: path.clone(),
            listener: name,
            taking: None,
            offer: None,
            had: had.map(|had| had.fd),
            attempted: None,
            code: None,
        };
        if let (Some(stream), Some(instance)) = (stream, instance) {
            let (to, mut heard) = mpsc::unbounded_channel();
            let line = Line::open(stream, path, to);
            let to_self = driver.to_self.clone();
            tokio::spawn(async move {
                while let Some(news) = heard.recv().await {
                    let _ = to_self.send(Command::Zero(News::Taking(news)));
                }
            });
            zero.taking = Some(Taking {
                instance,
                pid,
                line,
                asked: false,
            });
        }
        let way = match zero.taking {
            Some(_) => Way::ReadyFirst,
            None => Way::Plain,
        };
        let found = zero.had.is_some();
        driver.zero = Some(zero);
        if found {
            driver.exchanged(Step::Found { pid, way });
        }
        if way == Way::Plain && found {
            driver.exchanged(Step::Taken { pid });
        }
        driver.begin_to_take();
    }
}

/// Which listener is exchanged.
fn listener_name(config: &Config) -> Result<String, ZeroError> {
    if config.mode == Mode::Exclusive {
        return Err(ZeroError::Exclusive);
    }
    let spec = match (&config.zero_listener, config.listeners.as_slice()) {
        // It is had from whoever serves, where nothing says its address.
        (Some(name), []) => return Ok(name.clone()),
        (None, []) => return Ok(NAME.into()),
        (None, [one]) => one,
        (None, several) => {
            let found = several.len();
            return Err(ZeroError::WhichListener { found });
        }
        (Some(name), several) => match several.iter().find(|spec| spec.name == *name) {
            Some(spec) => spec,
            None => return Err(ZeroError::NoSuchListener { name: name.clone() }),
        },
    };
    let name = spec.name.clone();
    match spec.kind {
        ListenerKind::Tcp => Ok(name),
        ListenerKind::Udp | ListenerKind::Unix => Err(ZeroError::NotTcp { name }),
    }
}

/// The number of a process that serves: the one it has in the journal of a supervisor that died while
/// it took over, or the next.
fn number(found: Option<&Envelope>, observed: &Observation, pid: InstancePid) -> InstanceId {
    let record = found.map(|found| &found.record);
    let known = record.and_then(|record| record.members().find(|member| member.pid == Some(pid)));
    if let Some(known) = known {
        return known.instance;
    }
    let last = record.map(|record| record.last_instance);
    let alive = observed.alive.iter().map(|(instance, _)| *instance);
    let last = alive.chain(last).max().unwrap_or(InstanceId(0));
    last.next()
}

/// The exchange of a service that runs.
#[derive(Debug)]
pub(super) struct Zero {
    path: PathBuf,
    listener: String,
    taking: Option<Taking>,
    offer: Option<Offer>,
    /// The listener as it was had, to be compared with what is given.
    had: Option<std::os::fd::OwnedFd>,
    /// How the attempt to take over ended.
    attempted: Option<Outcome>,
    /// With which code the supervisor ends, if not the machine's.
    code: Option<u8>,
}

/// Who serves, or serves on.
#[derive(Debug)]
struct Taking {
    instance: InstanceId,
    pid: u32,
    line: Line,
    /// It was asked for its listener, and goes.
    asked: bool,
}

impl Driver {
    fn exchanged(&self, step: Step) {
        if let Some(zero) = &self.zero {
            let path = zero.path.display().to_string();
            self.bus.publish(EventKind::Zero { path, step });
        }
    }

    /// The instance that serves and is not ours.
    fn stranger(&self) -> Option<InstanceId> {
        let taking = self.zero.as_ref()?.taking.as_ref()?;
        Some(taking.instance)
    }

    /// Whether an instance is a process that was started without us: never signalled, never killed.
    pub(super) fn is_stranger(&self, instance: InstanceId) -> bool {
        self.stranger() == Some(instance)
    }

    fn begin_to_take(&mut self) {
        let Some(stranger) = self.stranger() else {
            return;
        };
        match self.processes.get_mut(&stranger) {
            Some(process) => process.stranger = true,
            // It has ended since.
            None => self.tell(Input::Exited {
                instance: stranger,
                exit: Exit::Unknown,
            }),
        }
        if !self.stranger_serves() {
            return;
        }
        let (answer, outcome) = oneshot::channel();
        self.upgrade(UpgradeRequest::default(), Some(answer));
        let to = self.to_self.clone();
        tokio::spawn(async move {
            if let Ok(outcome) = outcome.await {
                let _ = to.send(Command::Zero(News::Attempted(outcome)));
            }
        });
    }

    fn stranger_serves(&self) -> bool {
        let incumbent = self.machine.incumbent().map(|member| member.instance);
        self.machine.phase() == Phase::Serving
            && incumbent.is_some()
            && incumbent == self.stranger()
    }

    /// Looks, after everything was done that the machine wanted, whether it is the exchange's turn.
    pub(super) fn exchange(&mut self) {
        let serving = matches!(self.machine.phase(), Phase::Serving | Phase::Probation);
        let ours = self.machine.incumbent().map(|member| member.instance);
        let stranger = self.stranger();
        let Some(zero) = &mut self.zero else { return };
        if serving && stranger.is_none() && ours.is_some() && zero.offer.is_none() {
            if zero.code.is_none() {
                let (path, bus) = (zero.path.clone(), self.bus.clone());
                zero.offer = Some(Offer::begin(path, bus, self.to_self.clone()));
            }
        } else if let Some(outcome) = zero.attempted.take() {
            if self.stranger_serves() {
                self.back_out(&outcome);
            } else if let Some(zero) = &mut self.zero {
                zero.attempted = Some(outcome);
            }
        }
    }

    /// The incumbent was not asked and serves on, so there is nothing to supervise here.
    fn back_out(&mut self, outcome: &Outcome) {
        let code = match outcome {
            // In probation, after which it took back.
            Outcome::Committed { .. } => ROLLED_BACK,
            _ => outcome.exit_code(),
        };
        if let Some(zero) = &mut self.zero {
            zero.code.get_or_insert(code);
        }
        self.tell(Input::Stop { how: Stop::Fast });
    }

    /// The code to end with.
    pub(super) fn exchange_code(&self, code: u8) -> u8 {
        let zero = self.zero.as_ref();
        zero.and_then(|zero| zero.code).unwrap_or(code)
    }

    /// What another instance would get as a signal, whoever was there before gets as the request.
    /// Whether that was the case.
    pub(super) fn relieve(&mut self, to: InstanceId, signal: Signal) -> bool {
        if !self.is_stranger(to) {
            return false;
        }
        let stopping = self.machine.phase() == Phase::Stop;
        match signal {
            Signal::Term if !stopping => self.ask_to_go(),
            // It is nobody's business how long it takes, or the service ends before it was asked.
            Signal::Term | Signal::Kill => self.release(),
        }
        true
    }

    fn ask_to_go(&mut self) {
        let taking = self.zero.as_mut().and_then(|zero| zero.taking.as_mut());
        if let Some(taking) = taking {
            taking.asked = true;
            taking.line.say(Word::Relieve);
        }
    }

    fn say(&self, word: Word) {
        let taking = self.zero.as_ref().and_then(|zero| zero.taking.as_ref());
        if let Some(taking) = taking {
            taking.line.say(word);
        }
    }

    /// Whoever was there before is no concern of the machine's any more.
    fn release(&mut self) {
        let taking = self.zero.as_ref().and_then(|zero| zero.taking.as_ref());
        let told = taking.map(|taking| (taking.instance, taking.pid, taking.asked));
        if let Some((instance, pid, asked)) = told {
            if !asked {
                self.say(Word::LetGo);
                self.exchanged(Step::LetGo { pid });
            }
            self.processes.remove(&instance);
            let exit = Exit::Unknown;
            self.tell(Input::Exited { instance, exit });
        }
    }

    /// Whether an event says of whoever was there before what is only true of instances of ours.
    pub(super) fn is_untrue(&self, kind: &EventKind) -> bool {
        match kind {
            EventKind::InstanceKilled { instance } => self.is_stranger(*instance),
            EventKind::InstanceExited { instance, .. } => {
                self.is_stranger(*instance) && !self.processes.contains_key(instance)
            }
            _ => false,
        }
    }

    /// A process has ended.
    pub(super) fn stranger_gone(&mut self, instance: InstanceId) {
        if self.is_stranger(instance) {
            self.say(Word::Gone);
        }
    }

    /// The machine has heard that whoever was there before is gone, or is of no concern.
    pub(super) fn forget_stranger(&mut self, instance: InstanceId) {
        if self.is_stranger(instance)
            && let Some(zero) = &mut self.zero
            && zero.code.is_none()
        {
            zero.taking = None;
        }
    }

    pub(super) fn news(&mut self, news: News) {
        match news {
            News::Attempted(outcome) => {
                if let Some(zero) = &mut self.zero {
                    zero.attempted = Some(outcome);
                }
            }
            News::Taking(news) => self.heard_of_taking(news),
            News::TurnedAway => self.turned_away(),
            News::Asked { answer } => {
                // Who asked for it may have gone.
                let _ = answer.send(self.to_be_given());
            }
            News::Given => {}
            News::Retire => self.tell(Input::Stop { how: Stop::Drain }),
        }
    }

    fn to_be_given(&self) -> Result<std::os::fd::OwnedFd, String> {
        let name = self.zero.as_ref().map_or("", |zero| zero.listener.as_str());
        let listeners = self.listeners();
        let open = listeners.iter().find(|open| open.entry.name == name);
        let open = open.ok_or_else(|| format!("this version has no listener {name:?}"))?;
        let duplicate = std::os::fd::AsFd::as_fd(&**open).try_clone_to_owned();
        duplicate.map_err(|error| error.to_string())
    }

    fn heard_of_taking(&mut self, news: taking::News) {
        let taking = self.zero.as_ref().and_then(|zero| zero.taking.as_ref());
        let pid = taking.map_or(0, |taking| taking.pid);
        match news {
            taking::News::Taken(given) => {
                let ours = self.zero.as_ref().and_then(|zero| zero.had.as_ref());
                let other = matches!((&given, ours), (Ok(given), Some(ours))
                    if !arrival::is_same_socket(given, ours));
                if other {
                    self.bus.warn(format!(
                        "process {pid} gave another listener than the one that is served here; what \
                         it gave is closed, and nobody accepts there once it has gone"
                    ));
                }
                self.exchanged(Step::Taken { pid });
            }
            taking::News::Slow => self.exchanged(Step::Slow { pid }),
            taking::News::TurnedAway => {
                let to = self.to_self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(UNTIL_GONE).await;
                    let _ = to.send(Command::Zero(News::TurnedAway));
                });
            }
            taking::News::NotAnAnswer(found) => {
                self.bus.warn(format!(
                    "process {pid} answered with {found}, expected one descriptor and a zero byte; \
                     it serves on beside this one. Stop it yourself: kill {pid}"
                ));
                self.release();
            }
            taking::News::Lost => {
                self.bus.warn(format!(
                    "another process took over from process {pid} first, and serves; this one goes"
                ));
                if let Some(zero) = &mut self.zero {
                    zero.code = Some(REFUSED);
                }
                self.tell(Input::Stop { how: Stop::Drain });
            }
            taking::News::Alone => {}
        }
    }

    /// It closed the connection before it was asked, and did not die of it.
    fn turned_away(&mut self) {
        let serves = self.machine.incumbent().map(|member| member.instance);
        let (Some(stranger), true) = (self.stranger(), self.machine.attempt().is_some()) else {
            return;
        };
        if serves != Some(stranger) || !self.processes.contains_key(&stranger) {
            return;
        }
        self.bus.warn(
            "whoever serves closed the connection before it was asked: it gave its listener to \
             another, or lets nobody of this user take over. It was left alone",
        );
        if let Some(zero) = &mut self.zero {
            zero.code = Some(REFUSED);
        }
        self.tell(Input::Cancel);
    }

    /// Withdraws what is offered.
    pub(super) fn end_exchange(&mut self) {
        self.zero = None;
    }
}

/// Exit code of a service whose version failed after it was ready; see [`Outcome::exit_code`].
const ROLLED_BACK: u8 = 10;
/// Exit code of a service that may not take over; see [`Outcome::exit_code`].
const REFUSED: u8 = 11;
