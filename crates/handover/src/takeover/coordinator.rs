//! The coordinator inside an incumbent: one plain thread, no runtime. What happens goes into the
//! machine, what the machine wants is done, in order.
//!
//! It begins when its instance has become the incumbent and ends when that one was told to retire
//! for a successor, which then coordinates itself. The process may end at any moment between: the
//! successor sees its channel close and knows what that means.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use handover_proto::coordinator::{Coordinator, Input};
use handover_proto::frame::Decoded;
use handover_proto::identity::{CandidateId, InstanceId, InstancePid, RequestId};
use handover_proto::journal::{Recorded, Recovery, Stance};
use handover_proto::message::FromInstance;
use handover_proto::moment::{Machine, Moment};
use handover_proto::phase::{Mode, Phase};
use handover_proto::settings::{Stop, WhenBusy};
use rustix::event::{PollFd, PollFlags};

use super::host::Host;
use super::member::{Kind, Member, Word};
use super::visitor::{Stage, Visitor};
use crate::bell::{Bell, poll, readable};
use crate::introduction::Introductions;

/// The program of this process, started again.
pub(super) const OWN: CandidateId = CandidateId(1);

/// Whatever a process runs that comes by itself.
pub(super) const TAKER: CandidateId = CandidateId(2);

/// How many may be in conversation at the takeover socket at once; the others wait in its queue.
const MOST_VISITORS: usize = 16;

/// How long the last answers may take when the coordinator ends: whoever waits for them reads them
/// at once.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A pause after poll(2) or accept(2) failed for lack of memory or descriptors.
const SHORT: Duration = Duration::from_millis(100);

/// What the process itself tells its coordinator.
#[derive(Debug)]
pub(super) enum Order {
    /// Its instance was told to go, by a signal or by its program. Dropped when that is done.
    Terminate(mpsc::Sender<()>),
    /// Its instance closes its listeners.
    Leave,
}

/// The coordinator.
pub(super) struct Coordination {
    pub(super) host: Arc<Host>,
    pub(super) machine: Coordinator,
    pub(super) mode: Mode,
    origin: Instant,
    pub(super) members: BTreeMap<InstanceId, Member>,
    pub(super) visitors: Vec<Visitor>,
    pub(super) introductions: Introductions,
    /// The visitor that the next spawn adopts.
    pub(super) arriving: Option<super::give::Arriving>,
    pub(super) last_request: RequestId,
    /// How the latest attempt failed, for those who are sent away for it.
    pub(super) reason: String,
    /// Those to be sent away when everything else is said.
    pub(super) dismissed: Vec<InstanceId>,
    orders: mpsc::Receiver<Order>,
    bell: Arc<Bell>,
    /// Our own instance has greeted.
    greeted: bool,
    /// Our own instance was told to go, not by us.
    pub(super) terminated: bool,
    /// Our own instance goes, and nobody came.
    pub(super) leaving: bool,
    /// Our own instance goes, because a successor serves.
    pub(super) replaced: bool,
    over: bool,
    accept_again: Option<Instant>,
}

impl Coordination {
    /// `local` is our end of the channel to our own instance.
    pub(super) fn new(
        host: Arc<Host>,
        mode: Mode,
        local: UnixStream,
        orders: mpsc::Receiver<Order>,
        bell: Arc<Bell>,
    ) -> io::Result<Self> {
        let own = host.instance;
        let recorded = Recorded {
            instance: own,
            candidate: OWN,
            pid: Some(InstancePid(std::process::id())),
        };
        let found = Recovery {
            stance: Stance::Serve(recorded),
            generation: host.generation,
            ..Recovery::fresh(OWN, own)
        };
        let settings = host.options.settings(mode, host.ladder);
        // Distinct from any other coordinator's, as far as attempts of one service may meet.
        let incarnation = u32::try_from(own.0 & u64::from(u32::MAX)).unwrap_or_default();
        let machine = Coordinator::recovered(Moment::ZERO, settings, incarnation, found);
        let local = Member::new(Kind::Local, local, None)?;
        Ok(Self {
            host,
            machine,
            mode,
            origin: Instant::now(),
            members: BTreeMap::from([(own, local)]),
            visitors: Vec::new(),
            introductions: Introductions::default(),
            arriving: None,
            last_request: RequestId(0),
            reason: String::new(),
            dismissed: Vec::new(),
            orders,
            bell,
            greeted: false,
            terminated: false,
            leaving: false,
            replaced: false,
            over: false,
            accept_again: None,
        })
    }

    pub(super) fn own(&self) -> InstanceId {
        self.host.instance
    }

    pub(super) fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn now(&self) -> Moment {
        Moment::ZERO + self.origin.elapsed()
    }

    /// Tells the machine, and does what it wants.
    pub(super) fn tell(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input);
        self.execute();
    }

    pub(super) fn run(mut self) {
        self.execute();
        loop {
            if self.replaced || self.over {
                return self.finish();
            }
            self.wait();
            self.take();
        }
    }

    /// Everything that is still to be said goes out; then all channels close.
    fn finish(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        self.visitors
            .retain(|visitor| !matches!(visitor.stage, Stage::Asking { .. }));
        while Instant::now() < until {
            let own = self.own();
            let mut waits = false;
            // Our own instance last: when it has heard it, the process may end.
            for (instance, member) in &mut self.members {
                if *instance != own {
                    member.post.flush();
                    waits |= !member.post.is_flushed();
                }
            }
            for visitor in &mut self.visitors {
                visitor.post.flush();
                waits |= !visitor.post.is_flushed();
            }
            if !waits {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(local) = self.members.get_mut(&self.host.instance) {
            local.post.flush();
        }
    }

    fn wait(&mut self) {
        let machine = self.machine.next_deadline();
        let machine = machine.and_then(|at| self.origin.checked_add(at.since(Moment::ZERO)));
        let members = self.members.values().filter_map(Member::deadline);
        let visitors = self.visitors.iter().filter_map(Visitor::deadline);
        let until = machine
            .into_iter()
            .chain(members)
            .chain(visitors)
            .chain(self.accept_again)
            .min();
        let mut fds = vec![readable(&*self.bell)];
        fds.extend(self.host.triggers.as_ref().map(readable));
        if self.accepts() {
            fds.push(readable(&self.host.socket));
        }
        for member in self.members.values() {
            fds.extend(
                member
                    .is_open()
                    .then(|| PollFd::new(&member.post, member.post.interest())),
            );
            fds.extend(
                member
                    .watched()
                    .map(|process| PollFd::new(process, PollFlags::IN)),
            );
        }
        for visitor in &self.visitors {
            fds.push(PollFd::new(&visitor.post, visitor.post.interest()));
        }
        if let Err(error) = poll(&mut fds, until) {
            tracing::error!(%error, "poll(2) failed");
            std::thread::sleep(SHORT);
        }
        drop(fds);
        self.bell.silence();
    }

    /// Whether visitors are let in now.
    fn accepts(&self) -> bool {
        self.greeted
            && !self.leaving
            && self.visitors.len() < MOST_VISITORS
            && self.accept_again.is_none_or(|at| at <= Instant::now())
    }

    /// Everything that has happened.
    fn take(&mut self) {
        while let Ok(order) = self.orders.try_recv() {
            self.obey(order);
        }
        self.take_members();
        // Whoever comes from here on is the successor's: dropped, it knocks once more.
        if self.replaced {
            return;
        }
        if self
            .host
            .triggers
            .as_ref()
            .is_some_and(|triggers| triggers.arrived())
        {
            self.triggered();
        }
        self.take_visitors();
        if self.accepts() {
            self.accept();
        }
        if self
            .machine
            .next_deadline()
            .is_some_and(|at| at <= self.now())
        {
            self.tell(Input::Tick);
        }
        for member in self.members.values_mut() {
            member.post.flush();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            // Somebody wants this service to end, and the process it has started with it. One that
            // came by itself goes on without us.
            Order::Terminate(_heard) => {
                self.terminated = true;
                if self.has_child() && self.machine.successor().is_some() {
                    self.tell(Input::Stop { how: Stop::Drain });
                }
            }
            Order::Leave => self.leave(),
        }
    }

    /// A process that starts from here on finds nobody, and starts by itself.
    fn leave(&mut self) {
        if self.leaving || self.machine.successor().is_some() {
            return;
        }
        self.leaving = true;
        for visitor in &mut self.visitors {
            super::desk::stopping(visitor);
        }
        // Others may hold the socket; one that is shut is as good as closed.
        super::socket::shut(&self.host.socket);
    }

    fn triggered(&mut self) {
        // A newer request takes the place of an older one, but not of what somebody else began, nor
        // of what is committed.
        let taker = |member: &Member| member.kind == Kind::Taker;
        let ours = !self.members.values().any(taker) && self.machine.phase() != Phase::Probation;
        let when_busy = if ours {
            WhenBusy::Supersede
        } else {
            WhenBusy::Fail
        };
        tracing::info!(service = self.host.service, "upgrading, by signal");
        self.tell(Input::Upgrade {
            request: None,
            candidate: OWN,
            when_busy,
        });
    }

    fn take_members(&mut self) {
        let all: Vec<InstanceId> = self.members.keys().copied().collect();
        for instance in all {
            while let Some(word) = self.members.get_mut(&instance).and_then(Member::next) {
                self.heard(instance, word);
            }
        }
    }

    fn heard(&mut self, instance: InstanceId, word: Word) {
        let local = instance == self.own();
        match word {
            Word::Said(Decoded::Message(message)) => {
                if local && matches!(message, FromInstance::Hello { .. }) {
                    self.greeted = true;
                }
                if let (FromInstance::Ready { .. }, Some(member)) =
                    (&message, self.members.get_mut(&instance))
                {
                    member.ready = true;
                }
                let by = match message {
                    FromInstance::Extend { millis } => Some(Duration::from_millis(millis)),
                    _ => None,
                };
                self.tell(Input::Said { instance, message });
                if let Some(by) = by {
                    self.tell(Input::Extend { instance, by });
                }
            }
            Word::Said(Decoded::Unknown { kind }) => {
                tracing::debug!(%instance, kind, "skipped a frame of a newer version");
            }
            // The process ends: its runtime is gone.
            Word::Closed | Word::Lost | Word::Exited(_) if local => self.over = true,
            Word::Closed => {}
            Word::Lost => self.tell(Input::Closed { instance }),
            Word::Exited(exit) => {
                self.members.remove(&instance);
                self.introductions.gone(instance);
                self.tell(Input::Exited { instance, exit });
                self.still_serving();
            }
        }
    }

    fn accept(&mut self) {
        match self.host.socket.accept() {
            Ok((stream, _)) => match Visitor::new(stream) {
                Ok(visitor) => self.visitors.push(visitor),
                Err(error) => tracing::debug!(%error, "a visitor left at once"),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.accept_again = None,
            Err(error) => {
                tracing::warn!(%error, "the takeover socket cannot accept for now");
                self.accept_again = Some(Instant::now() + SHORT);
            }
        }
    }
}
