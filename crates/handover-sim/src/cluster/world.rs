//! A whole cluster, its network, its engine, its clock.
//!
//! Whatever happens is an [`Event`] in one queue; all that is left to chance comes from one
//! generator, so that a seed says everything.

mod acts;
mod calls;
mod commands;
mod deliver;
mod late;
mod load;
mod moving;
mod orders;
mod places;
mod replicas;
mod runs;
mod serve;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::call::{Call, Ledger};
use handover_hub_proto::identity::{CallId, Epoch, NodeId, ProcessId, RequestId};
use handover_hub_proto::message::Message;
use handover_hub_proto::node::{Command, HostReport, Input, Node};
use handover_hub_proto::view::{EngineEvent, Member};

use self::places::Guided;
use super::agenda::{Agenda, SECOND, Time};
use super::checker::{Checker, Violation};
use super::engine::exclusive::{Store, StoreEvent};
use super::engine::gossip::{Gossip, GossipEvent};
use super::engine::{Engine, Surroundings};
use super::fault::Fault;
use super::host::{Frame, Host};
use super::log::Log;
use super::network::{Network, RunIndex, Seat};
use super::plan::Plan;
use super::random::Random;
use super::registry::Registry;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// At etcd or a client of it.
    Store(StoreEvent),
    /// Between nodes that gossip.
    Gossip(GossipEvent),
    /// The engine says something to a machine.
    Told(RunIndex, EngineEvent),
    /// A machine asked for this time.
    Tick(RunIndex, Time),
    /// A frame arrives.
    Frame {
        /// From whom.
        from: RunIndex,
        /// At whom.
        to: RunIndex,
        /// In which connection.
        connection: u64,
        /// What.
        frame: Frame<Message>,
    },
    /// A run notices that its connection to another broke.
    Notice(RunIndex, RunIndex),
    /// A host has time for what it was ordered to do to a process.
    Ordered(RunIndex, ProcessId),
    /// A lease was in doubt: a process looks again whether it may go on, or answer that.
    InDoubt(RunIndex, ProcessId, Option<CallId>),
    /// A process that moved waits no longer for latecomers.
    Opened(RunIndex, ProcessId, Epoch),
    /// A process sends its replicas again what they lack: this update.
    Update(RunIndex, ProcessId, u64),
    /// A node is killed: another one has just come or gone.
    Strike,
    /// A machine that stood still goes on.
    Awake(RunIndex),
    /// A node measures how busy it is.
    Measured(RunIndex),
    /// A host reports.
    Report(RunIndex, HostReport),
    /// A process finished a message: the one with that count.
    Finished {
        /// Where.
        run: RunIndex,
        /// Which.
        process: ProcessId,
        /// Which message.
        begun: u64,
    },
    /// A call asked for this time.
    Again(RunIndex, CallId, Time),
    /// A client calls something.
    Call,
    /// Something befalls the cluster.
    Act,
    /// A network that was divided heals, or an engine that was disturbed.
    Relief,
    /// A node that stands still goes on.
    Continue(RunIndex),
    /// A node that left ends.
    Exit(RunIndex),
    /// A node that was killed comes back.
    Return(Seat),
}

impl Event {
    /// At which run it happens; none if elsewhere.
    fn at(&self) -> Option<RunIndex> {
        match self {
            Self::Store(event) => event.at(),
            Self::Gossip(event) => Some(event.at()),
            Self::Told(run, _)
            | Self::Tick(run, _)
            | Self::Frame { to: run, .. }
            | Self::Notice(run, _)
            | Self::Ordered(run, _)
            | Self::Opened(run, ..)
            | Self::Update(run, ..)
            | Self::InDoubt(run, ..)
            | Self::Again(run, ..)
            | Self::Awake(run)
            | Self::Measured(run)
            | Self::Report(run, _)
            | Self::Finished { run, .. }
            | Self::Exit(run) => Some(*run),
            Self::Call
            | Self::Act
            | Self::Strike
            | Self::Relief
            | Self::Continue(_)
            | Self::Return(_) => None,
        }
    }
}

/// One run of a node.
pub struct Run {
    /// Its name.
    pub seat: Seat,
    /// What it is known by.
    pub id: NodeId,
    /// What it told the engine of itself at first.
    pub me: Member,
    /// The machine under test.
    pub machine: Node<Registry>,
    /// What runs on it.
    pub host: Host,
    /// It has not ended.
    pub alive: bool,
    /// It stands still, and what happens at it waits.
    pub paused: bool,
    /// Its machine was told last that its lease is over.
    pub fenced: bool,
    /// It was asked to leave.
    pub leaving: bool,
    /// It said that it leaves without these.
    left: BTreeSet<ProcessId>,
    /// It was asked to take nothing new.
    pub evacuated: bool,
    backlog: Vec<Event>,
    /// What waits for its machine, which stands still for a moment; none if it does not.
    inbox: Option<Vec<Input<Message>>>,
    /// When its machine wants to be told of the time.
    tick: Option<Time>,
    requests: BTreeMap<RequestId, Command>,
    request: u64,
    ledger: Ledger,
}

/// A call that is under way.
struct UnderWay {
    run: RunIndex,
    process: ProcessId,
    machine: Call,
    /// Nobody may run its process for a while, since it waits for the node that it is pinned to.
    may_fail: bool,
    /// When its machine wants to be told of the time.
    tick: Option<Time>,
}

/// All of it.
pub struct World {
    /// What is to happen.
    pub plan: Plan,
    /// What is broken on purpose.
    pub fault: Fault,
    agenda: Agenda<Event>,
    random: Random,
    /// Chance for what [`Plan::varied`] adds.
    apart: Random,
    network: Network,
    engine: Engine,
    /// All runs of nodes, ended ones too.
    pub runs: Vec<Run>,
    by_id: BTreeMap<NodeId, RunIndex>,
    calls: BTreeMap<CallId, UnderWay>,
    names: u64,
    /// Processes that do not want to move.
    stubborn: BTreeSet<ProcessId>,
    /// Where processes may be beside where placement says, since they were moved there.
    moved_to: BTreeMap<ProcessId, BTreeSet<NodeId>>,
    pinned: BTreeMap<ProcessId, Vec<Seat>>,
    /// Where the children of a guided hub may be.
    guided: BTreeMap<ProcessId, Guided>,
    /// Children whose only host ended at some time.
    hostless: BTreeSet<ProcessId>,
    /// Children that a node left behind while others were out of reach.
    forgettable: BTreeSet<ProcessId>,
    /// When a board last had processes shifted.
    shifted: Time,
    /// When nodes were killed, stopped or cut off.
    harms: Vec<Time>,
    incarnations: u64,
    divided: bool,
    /// The network was divided, or a node wrongly suspected, at some time.
    diverged: bool,
    quiet: bool,
    /// What must hold.
    pub checker: Checker,
    /// What happened.
    pub log: Log,
    /// Frames of machines, and their items.
    pub control: (u64, u64),
    broken: Option<Violation>,
}

impl World {
    /// A cluster of which no node has started.
    #[must_use]
    pub fn new(plan: Plan, fault: Fault, log: Log) -> Self {
        let engine = if plan.exclusive {
            let mut store = Store::new(plan.patience);
            store.vouches = fault == Fault::NoFence;
            Engine::Exclusive(store)
        } else {
            let mut gossip = Gossip::new(plan.patience);
            gossip.fickle = fault == Fault::Fickle;
            Engine::Gossip(gossip)
        };
        Self {
            agenda: Agenda::default(),
            random: Random::new(plan.seed ^ 0x5eed),
            apart: Random::new(plan.seed ^ 0xa9a7),
            network: Network::new(plan.latency),
            engine,
            runs: Vec::new(),
            by_id: BTreeMap::new(),
            calls: BTreeMap::new(),
            names: 0,
            stubborn: BTreeSet::new(),
            moved_to: BTreeMap::new(),
            pinned: BTreeMap::new(),
            guided: BTreeMap::new(),
            hostless: BTreeSet::new(),
            forgettable: BTreeSet::new(),
            shifted: 0,
            harms: Vec::new(),
            incarnations: 0,
            divided: false,
            diverged: false,
            quiet: false,
            checker: Checker::new(plan.exclusive),
            log,
            control: (0, 0),
            broken: None,
            plan,
            fault,
        }
    }

    /// The time it is.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.agenda.now()
    }

    /// What the engine did, and what was sent.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Lets everything happen until then.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn until(&mut self, end: Time) -> Result<(), Violation> {
        while let Some(event) = self.agenda.next(end) {
            if let Some(at) = event.at() {
                let run = &mut self.runs[at];
                if !run.alive {
                    continue;
                }
                if run.paused {
                    run.backlog.push(event);
                    continue;
                }
            }
            self.happen(event);
            if let Some(broken) = self.broken.take() {
                return Err(broken);
            }
        }
        Ok(())
    }

    /// A node starts, under a name that nobody alive has.
    pub fn begin(&mut self, seat: Seat) {
        self.start_node(seat);
    }

    /// As many children start, asked of any node.
    pub fn begin_children(&mut self, count: usize) {
        self.start_children(count);
    }

    /// The whole plan: a cluster starts, things happen, then it is left alone until it is settled.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn play(&mut self) -> Result<(), Violation> {
        for seat in 0..self.plan.nodes {
            self.start_node(seat);
        }
        self.until(5 * SECOND)?;
        let children = self.plan.children;
        self.start_children(children);
        self.agenda.after(SECOND, Event::Call);
        self.agenda.after(SECOND, Event::Act);
        let end = self.now() + self.plan.lasts;
        self.until(end)?;
        self.settle()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Store(event) => self.at_engine(|engine, around| engine.store(around, event)),
            Event::Gossip(event) => self.at_engine(|engine, around| engine.gossip(around, event)),
            Event::Told(run, event) => self.told(run, event),
            Event::Tick(run, at) => {
                if self.runs[run].tick == Some(at) {
                    self.runs[run].tick = None;
                    self.input(run, Input::Tick);
                }
            }
            Event::Frame {
                from,
                to,
                connection,
                frame,
            } => self.arrive(from, to, connection, frame),
            Event::Notice(run, peer) => self.notice(run, peer),
            Event::Ordered(run, process) => self.ordered(run, &process),
            Event::InDoubt(run, process, reply) => self.in_doubt(run, &process, reply),
            Event::Opened(run, process, epoch) => self.opened(run, &process, epoch),
            Event::Update(run, process, number) => self.update_again(run, &process, number),
            Event::Awake(run) => self.awake(run),
            Event::Measured(run) => self.measured(run),
            Event::Strike => self.strike(),
            Event::Report(run, report) => {
                self.note(|| format!("run {run} <- {report:?}"));
                self.input(run, Input::Host(report));
            }
            Event::Finished {
                run,
                process,
                begun,
            } => self.finished(run, &process, begun),
            Event::Again(_, call, at) => self.again(call, at),
            Event::Call => self.call_one(),
            Event::Act => self.act(),
            Event::Relief => self.relieve(),
            Event::Continue(run) => self.go_on(run),
            Event::Exit(run) => self.exit(run),
            Event::Return(seat) => self.start_node(seat),
        }
    }

    /// Lets the engine do something, and has its nodes told what it says.
    fn at_engine(&mut self, act: impl FnOnce(&mut Engine, &mut Surroundings<'_>)) {
        let mut tells = Vec::new();
        let mut around = Surroundings {
            agenda: &mut self.agenda,
            random: &mut self.random,
            network: &self.network,
            tells: &mut tells,
        };
        act(&mut self.engine, &mut around);
        for (run, event) in tells {
            self.agenda.after(0, Event::Told(run, event));
        }
    }

    fn told(&mut self, run: RunIndex, event: EngineEvent) {
        self.note(|| format!("run {run} engine {event:?}"));
        if let EngineEvent::Owners(owners) = &event {
            let checked = self.checker.owners(owners);
            self.judge(checked);
        }
        if let EngineEvent::Gone { node, .. } = event
            && let Some(lost) = self.by_id.get(&node).copied()
            && self.runs[lost].alive
            && (!self.plan.merges || self.plan.exclusive)
        {
            // Held for dead: what it ran starts elsewhere, as if it had been killed.
            self.excuse(lost);
        }
        let unheard = match event {
            EngineEvent::Fenced => self.fault == Fault::NoFence,
            EngineEvent::Gone { .. } => self.fault == Fault::Deaf,
            _ => false,
        };
        if unheard {
            return;
        }
        self.input(run, Input::Engine(event));
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        let now = self.agenda.now();
        self.log.put(now, words);
    }

    fn judge(&mut self, result: Result<(), Violation>) {
        if let (Err(violation), None) = (result, &self.broken) {
            self.broken = Some(violation);
        }
    }

    /// Runs that are there, standing still or not.
    fn living(&self) -> Vec<RunIndex> {
        let runs = self.runs.iter().enumerate();
        let living = runs.filter(|(_, run)| run.alive);
        living.map(|(index, _)| index).collect()
    }
}
