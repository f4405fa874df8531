//! What an instance does about what its machines decide: events in, effects carried out, strictly in
//! order. Without a runtime and without I/O of its own: drivers bring events and time, and their
//! [`Surroundings`] are where effects happen. Shared by the driver of tasks and the one of threads.

mod effects;
mod exclusive;
mod readiness;
mod succession;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use handover_proto::event::DrainReport;
use handover_proto::identity::{HandoverId, InstanceId, InstancePid};
use handover_proto::instance::{self, Identity, Incumbent, Input, Placement, Successor};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;
use tokio::sync::oneshot;

use crate::core::Core;
use crate::drain::{self, Drain};
use crate::error::ReadyError;
use crate::exclusive::OwnError;
use crate::exclusive::call::Report;
use crate::exclusive::owner::Owner;
use crate::lease::Gate;
use crate::link::LinkEvent;
use crate::notice::{Notice, Watchdog};
use readiness::{Asker, Parting, Readiness, Refusal};

/// How often a changed count of connections is told to the coordinator: people watch it, nothing
/// is decided by it.
pub(crate) const COUNT_EVERY: Duration = Duration::from_millis(500);

/// The ladder of an instance without a coordinator: nobody else may serve, so asking clients to
/// reconnect is only worth a moment, while a request in flight is as precious as ever.
const LADDER_ALONE: Ladder = Ladder {
    announce: Duration::ZERO,
    notify: Duration::from_secs(1),
    grace: Duration::from_secs(30),
};

/// Where effects happen: what differs between the drivers.
pub(crate) trait Surroundings {
    /// Sends a frame to the coordinator; does nothing without an open channel.
    fn send(&mut self, message: &FromInstance);
    /// Begins to look for a new coordinator.
    fn seek(&mut self);
    /// Talks to this coordinator from here on, which is one inside this process.
    ///
    /// # Errors
    /// The channel is not to be had; nothing changed.
    fn attach(&mut self, channel: UnixStream) -> io::Result<()>;
    /// Whether somebody can come although nobody was there at the start: a supervisor of
    /// beyond-handoff.
    fn is_beyond(&self) -> bool;
    /// No listener accepts for now.
    fn pause(&mut self);
    /// Every listener accepts again.
    ///
    /// # Errors
    /// One cannot.
    fn reopen(&mut self) -> io::Result<()>;
    /// No listener accepts any more.
    fn close(&mut self);
    /// Everything that is open ends.
    fn cut(&mut self);
}

/// What handles ask for, and what other tasks and threads tell.
pub(crate) enum Command {
    Ready(oneshot::Sender<Result<(), ReadyError>>),
    Own(Box<Owner>, oneshot::Sender<Result<(), OwnError>>),
    /// The program cannot go on.
    Fail(String),
    Drain(Option<Ladder>),
    Status(String),
    Extend(Duration),
    /// From hooks and the state channel.
    Report(Report),
}

/// The coordinator's terms.
#[derive(Clone, Copy, Debug)]
struct Welcome {
    mode: Mode,
    introduced: bool,
}

/// The conduct of an instance.
pub(crate) struct Conduct<S> {
    core: Arc<Core>,
    pub(crate) surroundings: S,
    machine: instance::Instance,
    drain: Drain,
    notice: Notice,
    /// Fed for as long as the driver's loop turns.
    watchdog: Option<Watchdog>,
    origin: Instant,
    /// Inputs that effects gave rise to.
    inputs: VecDeque<Input>,
    readiness: Readiness,
    /// Why the machine would end before it is ready, by the input it looks at.
    reason: Option<Refusal>,
    /// Why it ends, as soon as its service is gone.
    ending: Option<Refusal>,
    /// It leaves before it was ready.
    parting: Option<Parting>,
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
    counted: u64,
    /// This process serves, and nobody coordinates it but itself.
    enthroned: bool,
}

impl<S: Surroundings> Conduct<S> {
    /// `placement`: where the coordinator is that waits for this process to become ready and knows
    /// it as `instance`, if one does.
    pub(crate) fn new(
        core: Arc<Core>,
        surroundings: S,
        placement: Option<Placement>,
        instance: Option<InstanceId>,
        notice: Notice,
        ladder: Option<Ladder>,
    ) -> Self {
        let identity = Identity {
            instance: instance
                .or(core.host.as_ref().map(|host| host.instance))
                .unwrap_or_default(),
            pid: InstancePid(std::process::id()),
        };
        let machine = match placement {
            Some(placement) => {
                let successor = Successor::new(Moment::ZERO, identity, placement);
                instance::Instance::Successor(successor)
            }
            None => instance::Instance::Incumbent(Incumbent::alone(identity, None)),
        };
        Self {
            core,
            surroundings,
            machine,
            drain: Drain::new(),
            watchdog: notice.watchdog(),
            notice,
            origin: Instant::now(),
            inputs: VecDeque::new(),
            readiness: Readiness::Waiting,
            reason: None,
            ending: None,
            parting: None,
            said: None,
            warming: false,
            introduction: None,
            owner: None,
            identity,
            supervised: placement.is_some(),
            ladder,
            own_request: false,
            report: None,
            counted: 0,
            enthroned: false,
        }
    }

    fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    /// When to call [`Conduct::tick`] although nothing happened.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let machines = [self.machine.next_deadline(), self.drain.next_deadline()];
        let machines = machines.into_iter().flatten().min();
        // One too far to express is never reached.
        let machines = machines.and_then(|at| self.origin.checked_add(at.since(Moment::ZERO)));
        let owners = self.owner.as_ref().and_then(|owner| owner.next_deadline());
        let watchdog = self.watchdog.map(|watchdog| watchdog.next_at());
        machines.into_iter().chain(owners).chain(watchdog).min()
    }

    /// Time has passed; the rest is seen by [`Conduct::settle`]. Whether it was the machine's.
    pub(crate) fn tick(&mut self) -> bool {
        let deadline = self.machine.next_deadline();
        let due = deadline.is_some_and(|at| at <= self.now());
        if due {
            self.inputs.push_back(Input::Tick);
        }
        due
    }

    /// Whether the end of a connection matters now.
    pub(crate) const fn counts(&self) -> bool {
        self.drain.counts()
    }

    /// Whose last permit is waited for, and nothing else.
    pub(crate) fn waits_for_writers(&self) -> Option<Arc<Gate>> {
        let owner = self.owner.as_ref()?;
        owner.waits_for_writers().then(|| owner.gate())
    }

    /// Whether nothing would be lost if the driver ended with its last handle.
    pub(crate) const fn is_dispensable(&self) -> bool {
        !self.supervised && self.owner.is_none()
    }

    /// Something happened on the channel to the coordinator.
    pub(crate) fn hear(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Said(message) => self.heard(message),
            LinkEvent::Introduced(id, socket) => {
                self.introduced(id, socket);
                let message = ToInstance::Introduce { id };
                self.inputs.push_back(Input::Said(message));
            }
            LinkEvent::Closed => self.closed(),
            LinkEvent::Connected => {
                // A new coordinator knows nothing yet.
                self.counted = 0;
                self.inputs.push_back(Input::Connected);
            }
        }
    }

    fn closed(&mut self) {
        self.uninvited();
        self.inputs.push_back(Input::Closed);
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

    pub(crate) fn obey(&mut self, command: Command) {
        match command {
            Command::Ready(answer) => self.ask(Asker::Ready(answer)),
            Command::Own(owner, answer) => self.own(owner, answer),
            Command::Fail(reason) => self.inputs.push_back(Input::Failed { reason }),
            Command::Drain(ladder) => self.leave(ladder),
            Command::Status(text) if self.supervised => {
                self.surroundings.send(&FromInstance::Status { text });
            }
            Command::Status(text) => self.notice.status(&text),
            Command::Extend(by) if self.supervised => {
                let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                self.surroundings.send(&FromInstance::Extend { millis });
            }
            Command::Extend(by) => self.notice.extend(by),
            Command::Report(report) => {
                if let Some(owner) = &mut self.owner {
                    owner.hear(report);
                }
            }
        }
    }

    /// Drain on the program's or a person's request; a second request cuts the ladder short.
    pub(crate) fn leave(&mut self, ladder: Option<Ladder>) {
        if let Some(parting) = &mut self.parting
            && !parting.asked
        {
            // The first request of whoever does not know that it leaves already.
            parting.asked = true;
            return;
        }
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

    /// Tells the coordinator how many connections are open, if that has changed.
    pub(crate) fn tell_count(&mut self) {
        let open = self.core.ledger.tally().open();
        if open != self.counted {
            self.counted = open;
            self.surroundings.send(&FromInstance::Connections { open });
        }
    }

    fn look(&mut self, input: drain::Input) {
        let now = self.now();
        let tally = self.core.ledger.tally();
        self.drain.handle(now, (input, tally));
    }
}
