//! Carries out what the machines decide: one task, one event at a time.

mod effects;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use handover_proto::identity::InstancePid;
use handover_proto::instance::{self, Identity, Incumbent, Input, Successor};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::core::Core;
use crate::drain::{self, Drain};
use crate::error::ReadyError;
use crate::inheritance::Native;
use crate::ledger::lock;
use crate::link::{Link, LinkEvent};
use crate::notice::Notice;
use crate::signals::{Signals, Streams};

/// How often a changed count of connections is told to the coordinator: people watch it, nothing
/// is decided by it.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The ladder of an instance without a coordinator: nobody else may serve, so asking clients to
/// reconnect is only worth a moment, while a request in flight is as precious as ever.
const LADDER_ALONE: Ladder = Ladder {
    announce: Duration::ZERO,
    notify: Duration::from_secs(1),
    grace: Duration::from_secs(30),
};

/// What handles ask the driver for.
#[derive(Debug)]
pub(crate) enum Command {
    Ready(oneshot::Sender<Result<(), ReadyError>>),
    Drain(Option<Ladder>),
    Status(String),
    Extend(Duration),
    WatchSignals(Streams),
}

enum Event {
    Command(Option<Command>),
    Link(LinkEvent),
    Signal,
    Emptied,
    Deadline,
    Count,
}

/// How far `ready` has come.
#[derive(Debug)]
enum Readiness {
    Waiting,
    Asked(oneshot::Sender<Result<(), ReadyError>>),
    Told,
    /// It will never be ready; the reason waits for whoever asks.
    Refused(Option<ReadyError>),
}

/// The task behind an instance.
pub(crate) struct Driver {
    core: Arc<Core>,
    machine: instance::Instance,
    drain: Drain,
    link: Link,
    notice: Notice,
    signals: Signals,
    commands: Option<mpsc::UnboundedReceiver<Command>>,
    origin: Instant,
    /// Inputs that effects gave rise to.
    inputs: VecDeque<Input>,
    readiness: Readiness,
    /// Why the machine would end before it is ready, by the input it looks at.
    reason: Option<ReadyError>,
    /// The coordinator welcomed us.
    welcome: bool,
    exclusive: bool,
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
        native: Option<Native>,
        notice: Notice,
        ladder: Option<Ladder>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> std::io::Result<Self> {
        let pid = InstancePid(std::process::id());
        let supervised = native.is_some();
        let (machine, link) = match native {
            Some(native) => {
                let instance = native.instance;
                let machine = Successor::new(Moment::ZERO, Identity { instance, pid });
                let link = Link::open(native.stream, native.reconnect)?;
                (instance::Instance::Successor(machine), link)
            }
            None => {
                let instance = Default::default();
                let machine = Incumbent::alone(Identity { instance, pid }, None);
                (instance::Instance::Incumbent(machine), Link::absent())
            }
        };
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
            welcome: false,
            exclusive: false,
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
        let (linked, counts) = (self.link.is_open(), self.drain.counts());
        tokio::select! {
            () = self.signals.next() => Event::Signal,
            event = self.link.event() => Event::Link(event),
            command = next_command(&mut self.commands) => Event::Command(command),
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
            Event::Link(LinkEvent::Said(message)) => {
                if let ToInstance::Welcome { mode, .. } = message {
                    self.exclusive = mode == Mode::Exclusive;
                }
                self.inputs.push_back(Input::Said(message));
            }
            Event::Link(LinkEvent::Closed) => self.inputs.push_back(Input::Closed),
            Event::Link(LinkEvent::Connected) => {
                // A new coordinator knows nothing yet.
                self.counted = 0;
                self.inputs.push_back(Input::Connected);
            }
            Event::Signal => self.leave(None),
            Event::Count => self.tell_count(),
            // `settle` looks at the count and the time anyway.
            Event::Emptied => {}
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
            Command::Ready(answer) => self.ask_ready(answer),
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

    fn ask_ready(&mut self, answer: oneshot::Sender<Result<(), ReadyError>>) {
        match &mut self.readiness {
            Readiness::Waiting => {
                self.readiness = Readiness::Asked(answer);
                self.warmed();
            }
            Readiness::Asked(_) | Readiness::Told => {
                let _ = answer.send(Err(ReadyError::Twice));
            }
            Readiness::Refused(reason) => {
                let _ = answer.send(Err(reason.take().unwrap_or(ReadyError::Twice)));
            }
        }
    }

    /// Both the coordinator and the program must have spoken before the machine may hear it.
    fn warmed(&mut self) {
        if self.welcome && matches!(self.readiness, Readiness::Asked(_)) {
            let claimed = lock(&self.core.pool).claimed();
            self.inputs.push_back(Input::Warmed { claimed });
        }
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

async fn next_command(commands: &mut Option<mpsc::UnboundedReceiver<Command>>) -> Option<Command> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}
