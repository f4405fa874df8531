//! Nodes, home, caller and what is under way, as a value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::identity::{Epoch, KindName, MoveId, NodeId, ProcessId};
use handover_hub_proto::mailbox::{Limits, Mailbox};
use handover_hub_proto::migration::{Order, Report, Settings, Terminal};
use handover_hub_proto::row::Host;
use handover_hub_proto::spec::ChildSpec;
use handover_proto::moment::Moment;

use super::caller::Caller;
use super::fault::Fault;
use super::home::Home;
use super::judge::{self, Ledger};
use super::network::{Line, Mail, Network, Packet};
use crate::broken::Broken;

/// Who is who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout {
    /// How many nodes. The caller is beside them, and never dies.
    pub nodes: u8,
    /// The home at the beginning.
    pub home: u8,
    /// Who runs the process at the beginning.
    pub source: u8,
    /// Where it shall go.
    pub target: u8,
}

/// What may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget {
    /// Connections that may break.
    pub breaks: u8,
    /// Nodes that may die.
    pub deaths: u8,
    /// How often the home may want to end a move.
    pub aborts: u8,
    /// How often a process may refuse: to be frozen, to take its state, to begin.
    pub refusals: u8,
    /// Moves after the first one, back and forth.
    pub moves: u8,
    /// What is under way on a connection that breaks may be read later.
    pub late: bool,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The caller sends its next message.
    Send,
    /// A packet arrives.
    Deliver(Line),
    /// One arrives from a connection that broke.
    Late(u8),
    /// A process takes its next message.
    Take(u8),
    /// It has applied it.
    Finish(u8),
    /// It begins to serve.
    Begin(u8),
    /// It does not.
    Fail(u8),
    /// It refuses to be frozen, which it was asked for.
    Refuse(u8),
    /// The row as it is now reaches a node, or the caller.
    Learn(u8),
    /// The caller's pause is over.
    Retry(u8),
    /// The connections of a pair break.
    Break(u8, u8),
    /// A node dies.
    Die(u8),
    /// The engine says so.
    Notice(u8),
    /// The home wants to end the move.
    Abort,
}

/// The process on one node, or what is prepared for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub(super) mailbox: Mailbox<Mail, Vec<u8>>,
    /// Its state: what it has applied.
    pub(super) log: Vec<u64>,
    /// Under which it runs here, frozen or not.
    pub(super) epoch: Option<Epoch>,
    /// For which move it was warmed, or is freezing.
    pub(super) attempt: Option<MoveId>,
    pub(super) hand: Option<Mail>,
    /// A state came for it: under which epoch that ran last.
    pub(super) restored: Option<Epoch>,
    /// What its state was when it was told to freeze, if that is sent by a fault.
    pub(super) early: Option<Vec<u64>>,
    /// Told to serve: epoch, and whether latecomers follow.
    pub(super) begins: Option<(Epoch, bool)>,
    /// Its state goes there, and was not taken yet.
    pub(super) sending: Option<(MoveId, u8)>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) alive: bool,
    /// The highest term it has seen.
    pub(super) fence: u64,
    pub(super) terminal: Terminal,
    pub(super) cell: Option<Cell>,
}

impl Node {
    pub(super) fn here(&self) -> Option<Epoch> {
        self.cell.as_ref().and_then(|cell| cell.epoch)
    }
}

/// What a node has to do before anything else happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Job {
    Order(u8, Order),
    Report(u8, Report),
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) layout: Layout,
    pub(super) budget: Budget,
    pub(super) fault: Fault,
    pub(super) now: Moment,
    pub(super) nodes: Vec<Node>,
    pub(super) home: Home,
    /// What each node's copy of the registry says, the caller's last.
    pub(super) rows: Vec<Option<Host>>,
    /// The newest row.
    pub(super) newest: Option<Host>,
    pub(super) network: Network,
    pub(super) caller: Caller,
    pub(super) noticed: BTreeSet<u8>,
    pub(super) ledger: Ledger,
    /// Something refused, or the home wanted an end.
    pub(super) disturbed: bool,
    /// What was under way when a connection broke was read later.
    pub(super) read_late: bool,
    pub(super) jobs: VecDeque<Job>,
}

pub(super) fn id(at: u8) -> NodeId {
    NodeId(u64::from(at))
}

pub(super) fn number(node: NodeId) -> u8 {
    u8::try_from(node.0).unwrap_or(u8::MAX)
}

pub(super) fn process() -> Arc<ChildSpec> {
    static SPEC: std::sync::LazyLock<Arc<ChildSpec>> = std::sync::LazyLock::new(|| {
        let (Ok(kind), Ok(id)) = (KindName::new("k"), ProcessId::new("p")) else {
            unreachable!("both are names");
        };
        Arc::new(ChildSpec::new(kind, id))
    });
    SPEC.clone()
}

pub(super) const fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(10),
        repeat: Duration::from_secs(1),
        ask_again: Duration::from_secs(10),
        defer_at_most: Duration::from_secs(600),
    }
}

pub(super) fn limits() -> Limits {
    Limits::default()
}

impl World {
    /// A process that runs on the source, whose home begins to move it. The caller has these to say,
    /// in order: calls where true, casts where not.
    ///
    /// # Errors
    /// What is broken from the beginning.
    pub fn new(
        layout: Layout,
        budget: Budget,
        letters: &[bool],
        fault: Fault,
    ) -> Result<Self, Broken> {
        let home = Home::new(layout);
        let row = home.row;
        let nodes = (0..layout.nodes).map(|at| Node {
            alive: true,
            fence: home.term,
            terminal: Terminal::new(settings()),
            cell: (at == layout.source).then(|| Cell {
                mailbox: Mailbox::open(),
                log: Vec::new(),
                epoch: row.map(|row| row.epoch),
                attempt: None,
                hand: None,
                restored: None,
                early: None,
                begins: None,
                sending: None,
            }),
        });
        let mut world = Self {
            layout,
            budget,
            fault,
            now: Moment::ZERO,
            nodes: nodes.collect(),
            home,
            rows: vec![row; usize::from(layout.nodes) + 1],
            newest: row,
            network: Network::default(),
            caller: Caller::new(letters),
            noticed: BTreeSet::new(),
            ledger: Ledger::default(),
            disturbed: false,
            read_late: false,
            jobs: VecDeque::new(),
        };
        if let Some(row) = row {
            world.ledger.granted.insert(row.epoch, layout.source);
        }
        world.begin_move(layout.target)?;
        judge::always(&mut world)?;
        Ok(world)
    }

    /// The caller's number.
    pub(super) const fn outside(&self) -> u8 {
        self.layout.nodes
    }

    pub(super) fn node(&mut self, at: u8) -> &mut Node {
        &mut self.nodes[usize::from(at)]
    }

    pub(super) fn is_alive(&self, at: u8) -> bool {
        self.nodes
            .get(usize::from(at))
            .is_none_or(|node| node.alive)
    }

    pub(super) fn send(&mut self, from: u8, to: u8, packet: Packet) {
        if self.is_alive(to) {
            self.network.send(from, to, packet);
        }
    }

    /// What can happen next without anything going wrong.
    pub(super) fn usual(&self) -> Vec<Action> {
        let mut all = Vec::new();
        if self.caller.has_more() {
            all.push(Action::Send);
        }
        for (at, node) in (0..).zip(&self.nodes) {
            if !node.alive && !self.noticed.contains(&at) {
                all.push(Action::Notice(at));
            }
            let Some(cell) = node.cell.as_ref().filter(|_| node.alive) else {
                continue;
            };
            if cell.hand.is_some() {
                all.push(Action::Finish(at));
            } else if cell.mailbox.clone().next().is_some() {
                all.push(Action::Take(at));
            }
            if cell.begins.is_some() {
                all.push(Action::Begin(at));
            }
        }
        all.extend(self.network.lines.keys().copied().map(Action::Deliver));
        for (at, row) in (0..).zip(&self.rows) {
            if *row != self.newest && self.is_alive(at) {
                all.push(Action::Learn(at));
            }
        }
        let pausing = self.caller.pausing();
        all.extend(pausing.into_iter().map(Action::Retry));
        all
    }

    /// What can happen next, as far as there is something left to spend.
    #[must_use]
    pub fn possible(&self) -> Vec<Action> {
        let mut all = self.usual();
        let late = 0..self.network.late.len();
        all.extend(late.filter_map(|at| u8::try_from(at).ok().map(Action::Late)));
        for (at, node) in (0..).zip(&self.nodes) {
            if !node.alive {
                continue;
            }
            if self.budget.deaths > 0 {
                all.push(Action::Die(at));
            }
            let cell = node.cell.as_ref();
            if self.budget.refusals > 0 {
                if cell.is_some_and(|cell| cell.begins.is_some()) {
                    all.push(Action::Fail(at));
                }
                let asked = |cell: &Cell| cell.hand.is_some() && cell.attempt.is_some();
                if cell.is_some_and(|cell| asked(cell) && cell.epoch.is_some()) {
                    all.push(Action::Refuse(at));
                }
            }
            if self.budget.breaks > 0 {
                let others = (at + 1)..=self.outside();
                let others = others.filter(|other| self.is_alive(*other));
                all.extend(others.map(|other| Action::Break(at, other)));
            }
        }
        if self.budget.aborts > 0 && self.home.can_abort() && self.is_alive(self.home.at) {
            all.push(Action::Abort);
        }
        all
    }

    /// Lets something happen.
    ///
    /// # Errors
    /// The rule that is broken by it.
    pub fn apply(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Send => self.say_next()?,
            Action::Deliver(line) => {
                if let Some(packet) = self.network.take(line) {
                    self.arrives(line.from, line.to, packet)?;
                }
            }
            Action::Late(at) => {
                let (from, to, packet) = self.network.late.remove(usize::from(at));
                self.read_late = true;
                self.arrives(from, to, packet)?;
            }
            Action::Take(at) => self.take(at),
            Action::Finish(at) => self.finish(at)?,
            Action::Begin(at) => self.begin(at)?,
            Action::Fail(at) => {
                self.budget.refusals -= 1;
                self.disturbed = true;
                self.fail(at)?;
            }
            Action::Refuse(at) => {
                self.budget.refusals -= 1;
                self.disturbed = true;
                self.refuse(at)?;
            }
            Action::Learn(at) => self.learn(at)?,
            Action::Retry(letter) => self.retry(letter)?,
            Action::Break(one, other) => {
                self.budget.breaks -= 1;
                self.break_up(one, other)?;
            }
            Action::Die(at) => {
                self.budget.deaths -= 1;
                self.die(at)?;
            }
            Action::Notice(at) => self.notice(at)?,
            Action::Abort => {
                self.budget.aborts -= 1;
                self.disturbed = true;
                self.abort()?;
            }
        }
        self.work_off()?;
        judge::always(self)
    }

    /// What is to be done at once: orders and reports of a node to itself.
    pub(super) fn work_off(&mut self) -> Result<(), Broken> {
        while let Some(job) = self.jobs.pop_front() {
            match job {
                Job::Order(at, order) => self.ordered(at, order)?,
                Job::Report(from, report) => self.home_hears(from, report)?,
            }
        }
        Ok(())
    }

    fn die(&mut self, at: u8) -> Result<(), Broken> {
        self.ledger.dead = true;
        let node = self.node(at);
        node.alive = false;
        if let Some(cell) = node.cell.take() {
            self.ledger.died_with(&cell);
        }
        self.network.forget(at);
        self.jobs.clear();
        self.home.died(at);
        // Its connections break, and whoever is there sees it.
        for other in 0..self.outside() {
            if other != at && self.is_alive(other) {
                self.state_stuck(other, at)?;
            }
        }
        Ok(())
    }

    fn break_up(&mut self, one: u8, other: u8) -> Result<(), Broken> {
        let states = self.network.cut(one, other);
        if !self.budget.late {
            self.network.late.clear();
        }
        let broken = !states.is_empty();
        self.ledger.broken = true;
        for (at, peer) in [(one, other), (other, one)] {
            if broken && at < self.outside() {
                self.state_stuck(at, peer)?;
            }
        }
        if other == self.outside() {
            self.caller_disconnected(one)?;
        }
        self.home_disconnected(one, other)
    }

    /// Who may act, and under which epoch.
    pub(super) fn acting(&self) -> BTreeMap<u8, Epoch> {
        use handover_hub_proto::mailbox::Phase;
        let nodes = (0..).zip(&self.nodes).filter(|(_, node)| node.alive);
        let acting = nodes.filter_map(|(at, node)| {
            let cell = node.cell.as_ref()?;
            let acts = match cell.mailbox.phase() {
                Phase::Open | Phase::Opening | Phase::Freezing => true,
                Phase::Frozen | Phase::Retired | Phase::Restoring => false,
            };
            acts.then_some((at, cell.epoch?))
        });
        acting.collect()
    }
}
