//! Machines, programs, clocks and datagrams in flight, as a value.

use std::collections::BTreeSet;
use std::time::Duration;

use handover_proto::container::envelope::Envelope;
use handover_proto::container::event::Successor;
use handover_proto::container::message::Message;
use handover_proto::container::order::Order;
use handover_proto::container::peer::{Effect, Identity, Input, Peer};
use handover_proto::container::{Attempt, BootId, PeerId};
use handover_proto::moment::{Machine, Moment};

use super::fault::Fault;
use super::judge;
use crate::broken::Broken;

/// Steps of fair delivery, after which it is taken to be without end.
const MOST_FAIR_STEPS: u32 = 5_000;

/// What may still be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget {
    /// How often each clock may go on.
    pub ticks: u8,
    /// How many may die, or fail.
    pub deaths: u8,
    /// Datagrams in flight from one to another; of more, the first is lost.
    pub flight: u8,
}

/// The program of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Program {
    Starting,
    Serves,
    Draining,
    Stopped,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Side {
    pub(super) machine: Peer,
    pub(super) clock: Moment,
    pub(super) ticks: u8,
    pub(super) alive: bool,
    pub(super) program: Program,
    pub(super) was_ready: bool,
    /// It serves since it was last drained, so a drain may be asked for.
    pub(super) may_drain: bool,
    /// When its program was drained.
    pub(super) drained: Option<Moment>,
    pub(super) completed: Option<Successor>,
    /// What it asked, and when it did so first.
    pub(super) asked: Vec<(Attempt, Moment)>,
    /// What it said last, as the network carries it, if answers are made up.
    last: Option<Envelope>,
    /// The newest datagram it heard of each.
    heard: Vec<u64>,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A program becomes ready.
    Ready(u8),
    /// A program does what it was told to: it is drained, or serves again.
    Obey(u8),
    /// A datagram in flight arrives.
    Deliver(u8),
    /// A clock goes on to the machine's next deadline.
    Tick(u8),
    /// An instance dies.
    Die(u8),
    /// A program is gone for good.
    Fail(u8),
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) sides: Vec<Side>,
    /// To whom, and what.
    flight: Vec<(u8, Envelope)>,
    /// Confirmations that were given by one that served.
    pub(super) confirmed: BTreeSet<(PeerId, Attempt)>,
    budget: Budget,
    deaths: u8,
    fault: Fault,
    /// Orders handed out.
    orders: u64,
}

fn name(at: usize) -> PeerId {
    PeerId([u8::try_from(at + 1).unwrap_or(u8::MAX); 16])
}

fn number(of: PeerId) -> usize {
    usize::from(of.0[0]) - 1
}

fn order(started_ns: u64) -> Order {
    Order {
        boot: BootId([0; 16]),
        started_ns,
        entry: None,
    }
}

impl World {
    /// So many instances of one service on one device, each younger than the one before. The first
    /// serves already, and nobody heard it say so.
    ///
    /// # Errors
    /// What is broken from the beginning.
    pub fn new(instances: usize, budget: Budget, fault: Fault) -> Result<Self, Broken> {
        let sides = (0..instances).map(|at| {
            let identity = Identity {
                service: "api".into(),
                peer: name(at),
                order: order(at as u64),
                legacy_ms: 0,
                seed: [u8::try_from(at).unwrap_or(u8::MAX); 32],
            };
            Side {
                machine: Peer::new(fault.settings(), identity, Moment::ZERO),
                clock: Moment::ZERO,
                ticks: 0,
                alive: true,
                program: Program::Starting,
                was_ready: false,
                may_drain: false,
                drained: None,
                completed: None,
                asked: Vec::new(),
                last: None,
                heard: vec![0; instances],
            }
        });
        let mut world = Self {
            sides: sides.collect(),
            flight: Vec::new(),
            confirmed: BTreeSet::new(),
            budget,
            deaths: 0,
            fault,
            orders: instances as u64,
        };
        world.apply(Action::Ready(0))?;
        world.flight.clear();
        Ok(world)
    }

    pub(super) fn disturbed(&self) -> bool {
        self.deaths > 0
    }

    pub(super) fn has_committed(&self) -> bool {
        let mut sides = self.sides.iter();
        sides.any(|side| side.completed.is_some())
    }

    pub(super) fn has_taken_back(&self) -> bool {
        self.orders > self.sides.len() as u64
    }

    /// What can happen next, as far as there is something left to spend.
    #[must_use]
    pub fn possible(&self) -> Vec<Action> {
        let mut all = Vec::new();
        for (at, side) in (0..).zip(&self.sides) {
            if !side.alive {
                continue;
            }
            if !side.was_ready && side.program == Program::Starting {
                all.push(Action::Ready(at));
            } else if matches!(side.program, Program::Draining | Program::Starting) {
                all.push(Action::Obey(at));
            }
            let may_tick = side.ticks < self.budget.ticks;
            if may_tick && side.machine.next_deadline().is_some() {
                all.push(Action::Tick(at));
            }
            // One that let go may go, and is missed by nobody.
            if self.deaths < self.budget.deaths && side.was_ready && side.completed.is_none() {
                all.push(Action::Die(at));
                if side.program == Program::Serves {
                    all.push(Action::Fail(at));
                }
            }
        }
        let flight = (0..).zip(&self.flight);
        all.extend(flight.map(|(at, _)| Action::Deliver(at)));
        all
    }

    /// Lets something happen.
    ///
    /// # Errors
    /// The rule that is broken by it.
    pub fn apply(&mut self, action: Action) -> Result<(), Broken> {
        match action {
            Action::Ready(at) => {
                let side = &mut self.sides[usize::from(at)];
                side.program = Program::Serves;
                side.was_ready = true;
                side.may_drain = true;
                self.input(at, Input::Ready)?;
            }
            Action::Obey(at) => self.obey(at)?,
            Action::Deliver(at) => {
                let (to, envelope) = self.flight.remove(usize::from(at));
                let from = number(envelope.from);
                self.sides[usize::from(to)].heard[from] = envelope.sequence;
                self.deliver(to, envelope)?;
            }
            Action::Tick(at) => {
                let side = &mut self.sides[usize::from(at)];
                let due = side.machine.next_deadline().unwrap_or(side.clock);
                side.clock = side.clock.max(due);
                side.ticks = side.ticks.saturating_add(1);
                self.input(at, Input::Tick)?;
            }
            Action::Die(at) => {
                self.deaths += 1;
                self.sides[usize::from(at)].alive = false;
                self.flight.retain(|(to, _)| *to != at);
            }
            Action::Fail(at) => {
                self.deaths += 1;
                self.sides[usize::from(at)].program = Program::Stopped;
                self.input(at, Input::Failed)?;
                // What it said is on its way, and it is gone.
                self.sides[usize::from(at)].alive = false;
            }
        }
        judge::somebody_serves(self)
    }

    fn obey(&mut self, at: u8) -> Result<(), Broken> {
        let orders = self.orders;
        let side = &mut self.sides[usize::from(at)];
        let input = match side.program {
            Program::Draining => {
                side.program = Program::Stopped;
                side.drained = Some(side.clock);
                Input::Drained
            }
            Program::Starting => {
                side.program = Program::Serves;
                side.may_drain = true;
                side.drained = None;
                self.orders += 1;
                let order = order(orders);
                let legacy_ms = 0;
                Input::Resumed { order, legacy_ms }
            }
            Program::Serves | Program::Stopped => return Ok(()),
        };
        self.input(at, input)
    }

    fn deliver(&mut self, to: u8, envelope: Envelope) -> Result<(), Broken> {
        self.input(to, Input::Heard(envelope.clone()))?;
        let side = &self.sides[usize::from(to)];
        judge::c4_nothing_changes(&side.machine, side.clock, &envelope, self.fault)
    }

    fn input(&mut self, at: u8, input: Input) -> Result<(), Broken> {
        let index = usize::from(at);
        let served = self.sides[index].machine.phase().serves();
        let side = &mut self.sides[index];
        side.machine.handle(side.clock, input.clone());
        while let Some(effect) = self.sides[index].machine.poll_effect() {
            match effect {
                Effect::Send(envelope) => self.post(at, served, &envelope),
                Effect::Drain { .. } => {
                    self.drain(index)?;
                    if self.fault == Fault::Twice {
                        self.drain(index)?;
                    }
                    if self.fault == Fault::Hasty {
                        let now = self.sides[index].clock;
                        self.sides[index].drained = Some(now);
                        self.input(at, Input::Drained)?;
                    }
                }
                Effect::Resume { .. } => self.sides[index].program = Program::Starting,
                Effect::Complete { by } => {
                    judge::may_complete(self, index, &input)?;
                    self.sides[index].completed = Some(by);
                }
                Effect::SendLegacy { .. } | Effect::Leave | Effect::Report(_) => {}
            }
        }
        Ok(())
    }

    fn drain(&mut self, at: usize) -> Result<(), Broken> {
        let side = &mut self.sides[at];
        if !std::mem::replace(&mut side.may_drain, false) {
            return Err(Broken::new("C5", "asked to drain twice"));
        }
        side.program = Program::Draining;
        Ok(())
    }

    fn post(&mut self, from: u8, served: bool, said: &Envelope) {
        let carried = self.fault.carry(said);
        let side = &mut self.sides[usize::from(from)];
        match said.message {
            Message::Challenge { handover, .. }
                if !side.asked.iter().any(|(known, _)| *known == handover) =>
            {
                side.asked.push((handover, side.clock));
            }
            Message::Confirm { handover, .. } if served => {
                self.confirmed.insert((said.from, handover));
            }
            _ => {}
        }
        side.last = self.fault.makes_up().then(|| carried.clone());
        self.make_up(from, said);
        for to in (0..).take(self.sides.len()) {
            let concerns = said
                .message
                .to()
                .is_none_or(|one| one == name(usize::from(to)));
            if to != from && concerns && self.sides[usize::from(to)].alive {
                self.fly(to, carried.clone());
            }
        }
    }

    /// An answer that nobody gave.
    fn make_up(&mut self, from: u8, said: &Envelope) {
        let asked = self.sides.iter();
        let asked = asked.filter_map(|side| side.last.as_ref());
        let mut asked = asked.filter(|last| said.message.to() == Some(last.from));
        if let Some(answer) = asked.next().and_then(|last| self.fault.answer(said, last)) {
            self.fly(from, answer);
        }
    }

    fn fly(&mut self, to: u8, envelope: Envelope) {
        let same = |(other, known): &(u8, Envelope)| *other == to && known.from == envelope.from;
        let flying = self.flight.iter().filter(|flies| same(flies)).count();
        if flying >= usize::from(self.budget.flight)
            && let Some(first) = self.flight.iter().position(same)
        {
            self.flight.remove(first);
        }
        self.flight.push((to, envelope));
    }

    /// The same world, in which all that is in flight is lost.
    pub(super) fn without_flight(&self) -> Self {
        let mut world = self.clone();
        world.flight.clear();
        world
    }

    /// Forgets what would change nothing: datagrams to the dead, those that others overtook (C4),
    /// and the order in which they were sent.
    pub(super) fn settle(&mut self) {
        let sides = &self.sides;
        self.flight.retain(|(to, envelope)| {
            let side = &sides[usize::from(*to)];
            side.alive && envelope.sequence > side.heard[number(envelope.from)]
        });
        self.flight
            .sort_by_key(|(to, envelope)| (*to, envelope.from, envelope.sequence));
    }

    /// Goes on without losses, deaths or delays until all clocks have gone on for `lasts` together.
    ///
    /// # Errors
    /// The rule that is broken on the way, or in the end.
    pub fn go_on_fairly(&mut self, lasts: Duration) -> Result<(), Broken> {
        let mut passed = Duration::ZERO;
        for _ in 0..MOST_FAIR_STEPS {
            while let Some(at) = (0..).zip(&self.sides).find_map(|(at, side)| {
                let told = matches!(side.program, Program::Draining | Program::Starting);
                (side.alive && side.was_ready && told).then_some(at)
            }) {
                self.apply(Action::Obey(at))?;
            }
            if !self.flight.is_empty() {
                self.settle();
            }
            if !self.flight.is_empty() {
                self.apply(Action::Deliver(0))?;
                continue;
            }
            let alive = self.sides.iter().filter(|side| side.alive);
            let next = alive.filter_map(|side| {
                let due = side.machine.next_deadline()?;
                Some(due.since(side.clock))
            });
            let next = next.min().unwrap_or(lasts);
            passed = passed.saturating_add(next);
            if passed > lasts {
                return judge::in_the_end(self);
            }
            for at in 0..self.sides.len() {
                let side = &mut self.sides[at];
                side.clock = side.clock + next;
                let due = side.machine.next_deadline();
                if side.alive && due.is_some_and(|due| due <= side.clock) {
                    let at = u8::try_from(at).unwrap_or(u8::MAX);
                    self.input(at, Input::Tick)?;
                }
            }
            judge::somebody_serves(self)?;
        }
        Err(Broken::new("ends", "it talks without an end"))
    }
}
