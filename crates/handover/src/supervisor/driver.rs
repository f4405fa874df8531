//! The loop: what happened goes into the machine, what the machine wants is done, in order.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use handover_proto::coordinator::{Coordinator, Input};
use handover_proto::event::Readiness;
use handover_proto::identity::{CandidateId, HandoverId, InstanceId, RequestId};
use handover_proto::message::FromInstance;
use handover_proto::moment::{Machine, Moment};
use handover_proto::outcome::{Exit, Outcome};
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::{HistoryEntry, Status, UpgradeRequest};
use handover_sys::notify::Notification;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::account::Account;
use super::beyond::Foreign;
use super::bus::Bus;
use super::candidate::Candidate;
use super::channel::{self, ChannelId, Place, Sender};
use super::config::Config;
use super::control;
use super::deadline::reached;
use super::duplicates::SharedListener;
use super::error::SuperviseError;
use super::health::Watch;
use super::history::History;
use super::keeper::Keeper;
use super::log::Logs;
use super::notices;
use super::opening::OwnSockets;
use super::preflight::{CheckReport, PreflightError};
use super::process::Process;
use super::record::Journal;
use super::runtime;
use super::sockets::Listeners;
use super::stranger::Stranger;
use super::trigger::Signals;
use super::unit::Reporter;
use super::verdict::Fault;
use super::zero::{self, Zero};
use crate::introduction::Introductions;

/// Exit code of a coordinator that gave up; see [`Outcome::exit_code`].
const NOBODY_SERVES: u8 = 13;

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
        from: ChannelId,
        message: FromInstance,
        /// Given back when it was handled: the channel is read no faster than that.
        place: Place,
    },
    /// A native channel broke, or was closed because of a fault of the instance's.
    Closed {
        instance: InstanceId,
        id: ChannelId,
        fault: Option<String>,
    },
    /// An instance spoke on a channel of another protocol, which is its channel from here.
    Linked { instance: InstanceId, link: Sender },
    /// Somebody connected to the native socket.
    Attached { pid: u32, stream: UnixStream },
    /// Somebody sent a notify message.
    Noticed {
        pid: u32,
        notice: Notification,
        place: Place,
    },
    /// A probe found an instance ready.
    BecameReady {
        instance: InstanceId,
        how: Readiness,
    },
    /// The keeper of the listeners has ended.
    KeeperGone { connection: u64 },
    /// The same, and it has had the time to greet since.
    FoundReady {
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
    /// A channel that closed may have been that of a process that is ending; if not, it is heard
    /// of now.
    Lost { instance: InstanceId },
    /// In probation the new instance does not answer as it should.
    Unhealthy {
        instance: InstanceId,
        reason: String,
    },
    /// Somebody wants the parked instance back.
    Undo { answer: Option<Answer> },
    /// Something happened in the exchange of zero-downtime.
    Zero(zero::News),
    /// The handover from a program that is being adopted is over.
    Adopted { outcome: Outcome },
    /// Somebody wants the running attempt abandoned.
    Cancel,
    /// Somebody wants the service stopped.
    Stop { how: Stop },
    /// Somebody wants duplicates of the listeners.
    Listeners {
        answer: oneshot::Sender<std::io::Result<Vec<SharedListener>>>,
    },
    /// Somebody wants to know.
    Status { answer: oneshot::Sender<Status> },
    /// Somebody wants to know what was.
    History {
        answer: oneshot::Sender<Vec<HistoryEntry>>,
    },
}

/// What an attempt is about, for people.
pub(super) struct Attempt {
    pub(super) program: String,
    pub(super) instance: InstanceId,
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
    /// What the attempts that run are about.
    pub(super) attempts: HashMap<HandoverId, Attempt>,
    /// The successor of the latest attempt.
    pub(super) latest: Option<InstanceId>,
    pub(super) introductions: Introductions,
    /// The program that was adopted, until it has gone.
    pub(super) adopted: Option<Stranger>,
    /// How instances of beyond-handoff are reached, if any may come.
    pub(super) foreign: Option<Foreign>,
    /// Why who serves does.
    pub(super) account: Account,
    /// The probe of a new instance in probation.
    pub(super) watch: Option<Watch>,
    /// Why a new instance in probation is being undone, if nobody asked for that.
    pub(super) unhealthy: Option<String>,
    /// What instances did wrong since the latest attempt began.
    pub(super) faults: BTreeMap<InstanceId, Fault>,
    pub(super) journal: Journal,
    pub(super) history: History,
    pub(super) answers: HashMap<RequestId, Answer>,
    pub(super) last_request: RequestId,
    pub(super) last_candidate: CandidateId,
    pub(super) to_self: UnboundedSender<Command>,
    pub(super) null: File,
    pub(super) exit: Option<u8>,
    pub(super) commands: UnboundedReceiver<Command>,
    /// When the supervisor began; the machine's moments count from here.
    pub(super) origin: Instant,
    pub(super) sockets: Option<OwnSockets>,
    pub(super) keeper: Keeper,
    /// The exchange of zero-downtime, if the service takes part in one.
    pub(super) zero: Option<Zero>,
    pub(super) reporter: Reporter,
    /// Where the instances' output goes, if not to ours.
    pub(super) logs: Option<Logs>,
    /// Held for as long as the supervisor lives; says so to the next one.
    pub(super) _lock: File,
}

impl Driver {
    pub(super) fn bus(&self) -> &Bus {
        &self.bus
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
        self.begin_adoption();
        loop {
            self.execute();
            self.exchange();
            self.execute();
            if let Some(code) = self.exit {
                self.close(server).await;
                return Ok(code);
            }
            let deadline = self.machine.next_deadline();
            let wake = reached(self.origin, deadline);
            tokio::select! {
                Some(command) = self.commands.recv() => self.handle(command),
                signal = signals.next() => self.signalled(signal),
                () = wake => self.tell(Input::Tick),
                () = self.reporter.due() => self.report_life(),
            }
        }
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Exited { instance, exit } => {
                self.stranger_gone(instance);
                self.tell(Input::Exited { instance, exit });
            }
            Command::Zero(news) => self.news(news),
            Command::Said {
                instance,
                from,
                message,
                place: _place,
            } => self.heard(instance, from, message),
            Command::Closed {
                instance,
                id,
                fault,
            } => self.closed(instance, id, fault),
            Command::Linked { instance, link } => self.linked(instance, link),
            Command::Attached { pid, stream } => self.attached(pid, stream),
            Command::Noticed {
                pid,
                notice,
                place: _place,
            } => self.noticed(pid, notice),
            Command::BecameReady { instance, how } => self.became_ready(instance, how),
            Command::KeeperGone { connection } => self.keeper_gone(connection),
            Command::FoundReady { instance, how } => self.found_ready(instance, how),
            Command::Upgrade { request, answer } => self.upgrade_on_request(request, answer),
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
            Command::Lost { instance } => self.lost(instance),
            Command::Unhealthy { instance, reason } => self.unhealthy(instance, reason),
            Command::Undo { answer } => self.undo(answer),
            Command::Adopted { outcome } => self.adoption_over(&outcome),
            Command::Cancel => self.tell(Input::Cancel),
            Command::Stop { .. } if self.adopts() => self.give_up_adoption(),
            Command::Stop { how } => self.tell(Input::Stop { how }),
            // Whoever asked may have gone; then nobody wants the answer.
            Command::Listeners { answer } => {
                let listeners = self.listeners();
                let shared = listeners.iter().map(|one| SharedListener::of(one));
                let _ = answer.send(shared.collect());
            }
            Command::Status { answer } => {
                let _ = answer.send(self.status());
            }
            Command::History { answer } => {
                let _ = answer.send(self.history.entries());
            }
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
        self.end_exchange();
        self.clear_terminal().await;
        self.end_logs();
        server.finish().await;
        self.keeper.end();
        self.fall_silent();
        if self.exit != Some(NOBODY_SERVES) {
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
