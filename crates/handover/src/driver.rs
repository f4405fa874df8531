//! Carries out what the machines decide: one task, one event at a time.

pub(crate) mod effects;
mod exclusive;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use handover_proto::identity::{HandoverId, InstancePid};
use handover_proto::instance::{self, Identity, Incumbent, Input, Successor};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::conversation::{Conversation, Counterpart};
use crate::core::Core;
use crate::drain::{self, Drain};
use crate::error::ReadyError;
use crate::exclusive::OwnError;
use crate::exclusive::call::Report;
use crate::exclusive::owner::Owner;
use crate::lease::Gate;
use crate::ledger::lock;
use crate::link::LinkEvent;
use crate::notice::Notice;
use crate::signals::{Signals, Streams};

/// How often a changed count of connections is told to the coordinator: people watch it, nothing
/// is decided by it.
pub(crate) const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The ladder of an instance without a coordinator: nobody else may serve, so asking clients to
/// reconnect is only worth a moment, while a request in flight is as precious as ever.
pub(crate) const LADDER_ALONE: Ladder = Ladder {
    announce: Duration::ZERO,
    notify: Duration::from_secs(1),
    grace: Duration::from_secs(30),
};

/// What handles ask the driver for.
#[derive(Debug)]
pub(crate) enum Command {
    Ready(oneshot::Sender<Result<(), ReadyError>>),
    Own(Box<Request>),
    /// The program cannot go on.
    Fail(String),
    Drain(Option<Ladder>),
    Status(String),
    Extend(Duration),
    WatchSignals(Streams),
}

/// To become the owner of data.
pub(crate) struct Request {
    pub(crate) owner: Owner,
    pub(crate) reports: mpsc::UnboundedReceiver<Report>,
    pub(crate) answer: oneshot::Sender<Result<(), OwnError>>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

enum Event {
    Command(Option<Command>),
    Report(Report),
    Link(LinkEvent),
    Signal,
    Emptied,
    /// The last permit to write is gone.
    Unwritten,
    Deadline,
    Count,
}

/// How far `ready` or `own` has come.
#[derive(Debug)]
enum Readiness {
    Waiting,
    Asked(Asker),
    Told,
    /// It will never be ready; the reason waits for whoever asks.
    Refused(Option<Refusal>),
}

/// Who waits for it.
#[derive(Debug)]
enum Asker {
    Ready(oneshot::Sender<Result<(), ReadyError>>),
    Own(oneshot::Sender<Result<(), OwnError>>),
}

/// Why it will never be ready.
#[derive(Debug)]
pub(crate) enum Refusal {
    Ready(ReadyError),
    Own(OwnError),
    /// Somebody has the lease; who, is found out when it is said.
    Busy,
}

/// The coordinator's terms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Welcome {
    pub(crate) mode: Mode,
    pub(crate) introduced: bool,
}

/// The task behind an instance.
pub(crate) struct Driver {
    core: Arc<Core>,
    machine: instance::Instance,
    drain: Drain,
    link: Conversation,
    notice: Notice,
    signals: Signals,
    commands: Option<mpsc::UnboundedReceiver<Command>>,
    origin: Instant,
    /// Inputs that effects gave rise to.
    inputs: VecDeque<Input>,
    readiness: Readiness,
    /// Why the machine would end before it is ready, by the input it looks at.
    reason: Option<Refusal>,
    /// Why it ends, as soon as its service is gone.
    ending: Option<Refusal>,
    /// What the coordinator said.
    said: Option<Welcome>,
    /// The machine wants to be warm.
    warming: bool,
    /// An introduction that came before the program asked to be the owner.
    introduction: Option<(HandoverId, Option<OwnedFd>)>,
    /// What owns the data, if anything does or is to.
    owner: Option<Owner>,
    reports: Option<mpsc::UnboundedReceiver<Report>>,
    identity: Identity,
    supervised: bool,
    /// The program's own ladder for a drain that no coordinator asked for.
    ladder: Option<Ladder>,
    /// The next retirement was asked for here, not by the coordinator.
    own_request: bool,
    counted: u64,
    count: Interval,
}

impl Driver {
    /// Call inside the runtime.
    pub(crate) fn new(
        core: Arc<Core>,
        counterpart: Counterpart,
        notice: Notice,
        ladder: Option<Ladder>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> std::io::Result<Self> {
        let pid = InstancePid(std::process::id());
        let supervised = counterpart.waits();
        let instance = counterpart.instance();
        let identity = Identity {
            instance: instance.unwrap_or_default(),
            pid,
        };
        let machine = if supervised {
            instance::Instance::Successor(Successor::new(Moment::ZERO, identity))
        } else {
            instance::Instance::Incumbent(Incumbent::alone(identity, None))
        };
        let link = counterpart.converse()?;
        let mut count = interval(COUNT_EVERY);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            core,
            machine,
            drain: Drain::new(),
            link,
            notice,
            signals: Signals::default(),
            commands: Some(commands),
            origin: Instant::now(),
            inputs: VecDeque::new(),
            readiness: Readiness::Waiting,
            reason: None,
            ending: None,
            said: None,
            warming: false,
            introduction: None,
            owner: None,
            reports: None,
            identity,
            supervised,
            ladder,
            own_request: false,
            counted: 0,
            count,
        })
    }

    /// Runs until the runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.settle();
            let event = self.next().await;
            self.take(event);
        }
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    async fn next(&mut self) -> Event {
        let deadlines = [self.machine.next_deadline(), self.drain.next_deadline()];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.map(|at| self.origin + at.since(Moment::ZERO));
        let owners = self.owner.as_ref().and_then(Owner::next_deadline);
        let deadline = deadline
            .into_iter()
            .chain(owners.map(Instant::from_std))
            .min();
        let writers = self
            .owner
            .as_ref()
            .filter(|owner| owner.waits_for_writers());
        let writers = writers.map(Owner::gate);
        let (linked, counts) = (self.link.is_open(), self.drain.counts());
        tokio::select! {
            () = self.signals.next() => Event::Signal,
            event = self.link.event() => Event::Link(event),
            command = next_command(&mut self.commands) => Event::Command(command),
            report = next_report(&mut self.reports) => Event::Report(report),
            () = unwritten(writers.as_deref()) => Event::Unwritten,
            () = self.core.ledger.emptied(), if counts => Event::Emptied,
            () = sleep_until(deadline.unwrap_or(self.origin)), if deadline.is_some() => {
                Event::Deadline
            }
            _ = self.count.tick(), if linked => Event::Count,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Command(None) => self.commands = None,
            Event::Command(Some(command)) => self.obey(command),
            Event::Report(report) => {
                if let Some(owner) = &mut self.owner {
                    owner.hear(report);
                }
            }
            Event::Link(LinkEvent::Said(message)) => self.heard(message),
            Event::Link(LinkEvent::Introduced(id, socket)) => {
                self.introduced(id, socket);
                self.inputs
                    .push_back(Input::Said(ToInstance::Introduce { id }));
            }
            Event::Link(LinkEvent::Closed) => self.inputs.push_back(Input::Closed),
            Event::Link(LinkEvent::Connected) => {
                // A new coordinator knows nothing yet.
                self.counted = 0;
                self.inputs.push_back(Input::Connected);
            }
            Event::Signal => self.leave(None),
            Event::Count => self.tell_count(),
            // `settle` looks at the counts and the time anyway.
            Event::Emptied | Event::Unwritten => {}
            Event::Deadline => {
                if self
                    .machine
                    .next_deadline()
                    .is_some_and(|at| at <= self.now())
                {
                    self.inputs.push_back(Input::Tick);
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ready(answer) => self.ask(Asker::Ready(answer)),
            Command::Own(request) => self.own(*request),
            Command::Fail(reason) => self.inputs.push_back(Input::Failed { reason }),
            Command::Drain(ladder) => self.leave(ladder),
            Command::Status(text) if self.supervised => {
                self.link.send(&FromInstance::Status { text });
            }
            // A line break would begin another assignment.
            Command::Status(text) => self
                .notice
                .mention(&format!("STATUS={}", text.replace(['\n', '\r'], " "))),
            Command::Extend(by) if self.supervised => {
                let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                self.link.send(&FromInstance::Extend { millis });
            }
            Command::Extend(by) => self
                .notice
                .mention(&format!("EXTEND_TIMEOUT_USEC={}", by.as_micros())),
            Command::WatchSignals(streams) => self.signals.watch(streams),
        }
    }

    /// Drain on the program's or a person's request; a second request cuts the ladder short.
    fn leave(&mut self, ladder: Option<Ladder>) {
        if self.drain.report(&self.core.ledger.tally()).is_some() {
            if ladder.is_none() {
                self.look(drain::Input::Hurry);
            }
            return;
        }
        self.ladder = ladder.or(self.ladder);
        self.own_request = true;
        self.inputs.push_back(Input::Terminate);
    }

    fn ask(&mut self, asker: Asker) {
        match &mut self.readiness {
            Readiness::Waiting => {
                self.readiness = Readiness::Asked(asker);
                self.warm();
            }
            Readiness::Asked(_) | Readiness::Told => {
                asker.answer(Err(Refusal::Ready(ReadyError::Twice)));
            }
            Readiness::Refused(reason) => {
                let reason = reason.take();
                asker.answer(Err(reason.unwrap_or(Refusal::Ready(ReadyError::Twice))));
            }
        }
    }

    fn heard(&mut self, message: ToInstance) {
        match &message {
            ToInstance::Welcome {
                mode, introduced, ..
            } => {
                self.said = Some(Welcome {
                    mode: *mode,
                    introduced: *introduced,
                });
            }
            ToInstance::Drain { id, .. } => {
                if let Some(owner) = &mut self.owner {
                    owner.attempt(*id);
                }
            }
            _ => {}
        }
        self.inputs.push_back(Input::Said(message));
    }

    /// Both the coordinator and the program must have spoken before the machine may hear it.
    fn warm(&mut self) {
        let Readiness::Asked(asker) = &self.readiness else {
            return;
        };
        if !self.warming {
            return;
        }
        let exclusive = self
            .said
            .is_some_and(|welcome| welcome.mode == Mode::Exclusive);
        match (asker, exclusive || !self.supervised) {
            (Asker::Own(_), true) => self.warm_owner(),
            (Asker::Ready(_), false) => {
                let claimed = lock(&self.core.pool).claimed();
                self.inputs.push_back(Input::Warmed { claimed });
            }
            (Asker::Own(_), false) => self.fail(&OwnError::Overlap),
            (Asker::Ready(_), true) => self.fail(&ReadyError::Exclusive),
        }
    }

    fn fail(&mut self, error: &impl std::error::Error) {
        let reason = error.to_string();
        self.inputs.push_back(Input::Failed { reason });
    }

    fn tell_count(&mut self) {
        let open = self.core.ledger.tally().open();
        if open != self.counted {
            self.counted = open;
            self.link.send(&FromInstance::Connections { open });
        }
    }

    fn look(&mut self, input: drain::Input) {
        let now = self.now();
        let tally = self.core.ledger.tally();
        self.drain.handle(now, (input, tally));
    }
}

impl Asker {
    fn answer(self, result: Result<(), Refusal>) {
        // Whoever does not wait any more does not need it.
        match self {
            Self::Ready(answer) => drop(answer.send(result.map_err(Refusal::into_ready))),
            Self::Own(answer) => drop(answer.send(result.map_err(Refusal::into_own))),
        }
    }
}

impl Refusal {
    pub(crate) fn into_ready(self) -> ReadyError {
        match self {
            Self::Ready(error) => error,
            // Only an owner fails with those.
            Self::Own(_) | Self::Busy => ReadyError::Exclusive,
        }
    }

    pub(crate) fn into_own(self) -> OwnError {
        match self {
            Self::Ready(error) => error.into(),
            Self::Own(error) => error,
            Self::Busy => OwnError::Ended,
        }
    }
}

async fn next_report(reports: &mut Option<mpsc::UnboundedReceiver<Report>>) -> Report {
    let next = match reports {
        Some(reports) => reports.recv().await,
        None => None,
    };
    match next {
        Some(report) => report,
        // The owner holds a sender for as long as there is one.
        None => std::future::pending().await,
    }
}

async fn unwritten(gate: Option<&Gate>) {
    match gate {
        Some(gate) => gate.emptied().await,
        None => std::future::pending().await,
    }
}

async fn next_command(commands: &mut Option<mpsc::UnboundedReceiver<Command>>) -> Option<Command> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}
