//! Carries out what the machines decide: one thread, one event at a time.

mod asker;
mod effects;
mod exclusive;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use handover_proto::event::DrainReport;
use handover_proto::identity::{HandoverId, InstancePid};
use handover_proto::instance::{self, Identity, Incumbent, Input, Successor};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;

use super::bell::{poll, readable};
use super::core::{Ends, State};
use super::link::Link;
use super::signals::Arrived;
use crate::drain::{self, Drain};
use crate::driver::{COUNT_EVERY, Refusal, Welcome};
use crate::error::ReadyError;
use crate::exclusive::OwnError;
use crate::exclusive::call::Report;
use crate::exclusive::owner::Owner;
use crate::inheritance::Native;
use crate::ledger::lock;
use crate::link::LinkEvent;
use crate::notice::Notice;

pub(super) use asker::Asker;

/// A pause after poll(2) has failed for lack of memory, so as not to make things worse.
const SHORT_OF_MEMORY: Duration = Duration::from_millis(100);

/// What handles ask the driver for, and what other threads tell it.
pub(super) enum Command {
    /// To say that the program serves, or to become the owner of its data.
    Ask(Asker, Option<Box<Owner>>),
    /// From hooks and the state channel.
    Report(Report),
    /// The program cannot go on.
    Fail(String),
    Drain(Option<Ladder>),
    Status(String),
    Extend(Duration),
    /// No handle, listener or guard is left.
    Abandoned,
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

/// What a driver is made of.
pub(super) struct Parts {
    pub(super) ends: Ends,
    pub(super) native: Option<Native>,
    pub(super) notice: Notice,
    pub(super) ladder: Option<Ladder>,
}

/// A future that rings the driver's bell when something has happened that has no descriptor.
type Ringing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The thread behind an instance.
pub(super) struct Driver {
    core: Arc<State>,
    machine: instance::Instance,
    drain: Drain,
    link: Link,
    notice: Notice,
    arrived: Arrived,
    orders: Receiver<Command>,
    /// Rings the bell when the last connection of a drain has ended.
    emptied: Ringing,
    /// Rings it when the last permit to write is gone, while that is waited for.
    unwritten: Option<Ringing>,
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
    owner: Option<Box<Owner>>,
    identity: Identity,
    supervised: bool,
    /// The program's own ladder for a drain that no coordinator asked for.
    ladder: Option<Ladder>,
    /// The next retirement was asked for here, not by the coordinator.
    own_request: bool,
    /// What the drain achieved, until the coordinator has been told.
    report: Option<DrainReport>,
    /// When to cut what a first cut has left.
    second_cut: Option<Instant>,
    counted: u64,
    count_at: Instant,
    abandoned: bool,
}

impl Driver {
    /// # Errors
    /// The inherited channel is not a usable socket.
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let pid = InstancePid(std::process::id());
        let supervised = parts.native.is_some();
        let instance = parts.native.as_ref().map(|native| native.instance);
        let identity = Identity {
            instance: instance.unwrap_or_default(),
            pid,
        };
        let (machine, link) = match parts.native {
            Some(native) => {
                let machine = Successor::new(Moment::ZERO, identity);
                let link = Link::open(native.stream, native.reconnect)?;
                (instance::Instance::Successor(machine), link)
            }
            None => {
                let machine = Incumbent::alone(identity, None);
                (instance::Instance::Incumbent(machine), Link::absent())
            }
        };
        let Ends {
            state,
            orders,
            arrived,
        } = parts.ends;
        let (ledger, bell) = (Arc::clone(&state.ledger), Arc::clone(&state.bell));
        Ok(Self {
            core: state,
            machine,
            drain: Drain::new(),
            link,
            notice: parts.notice,
            arrived,
            orders,
            emptied: Box::pin(async move {
                loop {
                    ledger.emptied().await;
                    bell.ring();
                }
            }),
            unwritten: None,
            origin: Instant::now(),
            inputs: VecDeque::new(),
            readiness: Readiness::Waiting,
            reason: None,
            ending: None,
            said: None,
            warming: false,
            introduction: None,
            owner: None,
            identity,
            supervised,
            ladder: parts.ladder,
            own_request: false,
            report: None,
            second_cut: None,
            counted: 0,
            count_at: Instant::now(),
            abandoned: false,
        })
    }

    /// Runs until nobody is left who could notice.
    pub(super) fn run(mut self) {
        loop {
            self.settle();
            // One at a time: what one event leads to comes before the next.
            if !self.take_one() {
                if self.abandoned && !self.supervised && self.owner.is_none() {
                    return;
                }
                self.wait();
            }
        }
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    fn wait(&mut self) {
        let now = self.now();
        let machines = [self.machine.next_deadline(), self.drain.next_deadline()];
        let machines = machines.into_iter().flatten().min();
        // A deadline too far to express is never reached.
        let machines = machines.and_then(|at| Instant::now().checked_add(at.since(now)));
        let count = self.link.is_open().then_some(self.count_at);
        let owners = self.owner.as_ref().and_then(|owner| owner.next_deadline());
        let deadlines = [
            machines,
            owners,
            count,
            self.link.deadline(),
            self.second_cut,
        ];
        let until = deadlines.into_iter().flatten().min();
        self.listen_without_descriptors();
        let mut fds = vec![readable(&*self.core.bell), readable(&self.arrived)];
        fds.extend(self.link.interest());
        if let Err(error) = poll(&mut fds, until) {
            tracing::error!(%error, "poll(2) failed");
            std::thread::sleep(SHORT_OF_MEMORY);
        }
        drop(fds);
        self.core.bell.silence();
        self.link.write();
    }

    /// Asks to be woken by what has no descriptor. Whatever has happened since `settle` looked
    /// rings the bell now, before the wait.
    fn listen_without_descriptors(&mut self) {
        let waker = Waker::from(Arc::clone(&self.core.bell));
        let context = &mut Context::from_waker(&waker);
        let _ = self.emptied.as_mut().poll(context);
        let writers = self
            .owner
            .as_ref()
            .filter(|owner| owner.waits_for_writers());
        let Some(gate) = writers.map(|owner| owner.gate()) else {
            self.unwritten = None;
            return;
        };
        let bell = Arc::clone(&self.core.bell);
        let unwritten = self.unwritten.get_or_insert_with(|| {
            Box::pin(async move {
                gate.emptied().await;
                bell.ring();
            })
        });
        if unwritten.as_mut().poll(context).is_ready() {
            self.unwritten = None;
        }
    }

    /// Takes the next thing that has happened, if any.
    fn take_one(&mut self) -> bool {
        if let Some(event) = self.link.event() {
            self.hear(event);
        } else if let Ok(command) = self.orders.try_recv() {
            self.obey(command);
        } else {
            return self.take_signals() | self.take_time();
        }
        true
    }

    fn take_signals(&mut self) -> bool {
        let arrived = self.arrived.count();
        (0..arrived).for_each(|_| self.leave(None));
        arrived > 0
    }

    fn take_time(&mut self) -> bool {
        let mut taken = false;
        let deadline = self.machine.next_deadline();
        if deadline.is_some_and(|at| at <= self.now()) {
            self.inputs.push_back(Input::Tick);
            taken = true;
        }
        if self.link.is_open() && self.count_at <= Instant::now() {
            self.count_at = Instant::now() + COUNT_EVERY;
            self.tell_count();
        }
        if self.second_cut.is_some_and(|at| at <= Instant::now()) {
            self.second_cut = None;
            self.core.ledger.cut();
        }
        taken
    }

    fn hear(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Said(message) => self.heard(message),
            LinkEvent::Introduced(id, socket) => {
                self.introduced(id, socket);
                let message = ToInstance::Introduce { id };
                self.inputs.push_back(Input::Said(message));
            }
            LinkEvent::Closed => self.inputs.push_back(Input::Closed),
            LinkEvent::Connected => {
                // A new coordinator knows nothing yet.
                self.counted = 0;
                self.inputs.push_back(Input::Connected);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Ask(asker, owner) => self.ask(asker, owner),
            Command::Report(report) => {
                if let Some(owner) = &mut self.owner {
                    owner.hear(report);
                }
            }
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
            Command::Abandoned => self.abandoned = true,
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
        // A second signal of the same moment finds the drain begun.
        self.settle();
    }

    fn ask(&mut self, asker: Asker, owner: Option<Box<Owner>>) {
        match &mut self.readiness {
            Readiness::Waiting => {
                self.readiness = Readiness::Asked(asker);
                if let Some(owner) = owner {
                    self.own(owner);
                }
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
        let mode = self.said.map(|welcome| welcome.mode);
        let exclusive = mode == Some(Mode::Exclusive);
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
