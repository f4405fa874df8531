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
//! | `approach` | before the driver is there |
//! | `arrival` | who serves at the path, and how their listener is had |
//! | `taking` | the connection to them |
//! | `giving` | the path on which others take over from here |

mod approach;
mod arrival;
mod error;
mod giving;
mod taking;

use std::path::PathBuf;
use std::time::Duration;

use handover_proto::coordinator::{Input, Signal};
use handover_proto::event::EventKind;
use handover_proto::identity::InstanceId;
use handover_proto::outcome::{Exit, Outcome};
use handover_proto::phase::Phase;
use handover_proto::settings::Stop;
use handover_proto::zero::Step;
use tokio::sync::oneshot;

use super::driver::{Command, Driver};
use giving::Offer;
use taking::{Line, Word};

pub(super) use approach::Approach;
pub(super) use arrival::command_line;
pub use error::ZeroError;

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
    /// Whoever was given it has had its time.
    Retire,
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
    /// It gave it, and has left the path.
    given: bool,
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
        self.upgrade_then(|outcome| Command::Zero(News::Attempted(outcome)));
    }

    fn stranger_serves(&self) -> bool {
        let incumbent = self.machine.incumbent().map(|member| member.instance);
        self.machine.phase() == Phase::Serving
            && incumbent.is_some()
            && incumbent == self.stranger()
    }

    /// Looks, after everything was done that the machine wanted, whether it is the exchange's turn.
    pub(super) fn exchange(&mut self) {
        // The service ends; how long the other takes to is its own affair.
        let held = self.stranger();
        if self.machine.phase() == Phase::Stop
            && held.is_some_and(|held| self.processes.contains_key(&held))
        {
            self.release();
        }
        let serving = matches!(self.machine.phase(), Phase::Serving | Phase::Probation);
        let ours = self.machine.incumbent().map(|member| member.instance);
        let Some(zero) = &mut self.zero else { return };
        let free = zero.taking.as_ref().is_none_or(|taking| taking.given);
        if serving && free && ours.is_some() && zero.offer.is_none() {
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
                let taking = self.zero.as_mut().and_then(|zero| zero.taking.as_mut());
                if let Some(taking) = taking {
                    taking.given = true;
                }
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
                    "process {pid} closed the connection without an answer, and the path is served: \
                     another process took over first, or it is no giver. It serves on, this one goes"
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
