//! The home: it makes a move, or takes a census where it is a new one.

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::identity::{Epoch, MoveId, Term};
use handover_hub_proto::migration::{
    Bid, Decision, GRANTS, Holding, Movement, MovementEffect, MovementInput, Order, Outcome, Plan,
    Purpose, Report, Resolution, Stray, leftover, resolve,
};
use handover_hub_proto::row::{Host, Role};
use handover_proto::moment::Machine;

use super::fault::Fault;
use super::judge;
use super::network::Packet;
use super::world::{Job, Layout, World, id, number, process, settings};
use crate::broken::Broken;

/// A new home asks everybody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Census {
    waits: BTreeSet<u8>,
    holdings: BTreeMap<u8, Option<Holding>>,
}

/// The home of the process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Home {
    pub(super) at: u8,
    pub(super) term: u64,
    /// Epochs granted under this term.
    grants: u64,
    attempts: u64,
    pub(super) movement: Option<Movement>,
    pub(super) census: Option<Census>,
    pub(super) row: Option<Host>,
    pub(super) outcomes: Vec<Outcome>,
    /// Nobody has it: it would be started again.
    pub(super) lost: bool,
}

impl Home {
    pub(super) fn new(layout: Layout) -> Self {
        let term = 1;
        let epoch = Epoch {
            term: Term(term),
            grant: 1,
        };
        Self {
            at: layout.home,
            term,
            grants: 1,
            attempts: 0,
            movement: None,
            census: None,
            row: Some(Host {
                node: id(layout.source),
                epoch,
                role: Role::Active,
                filled: true,
            }),
            outcomes: Vec::new(),
            lost: false,
        }
    }

    fn grant(&mut self, count: u64) -> Epoch {
        let grant = self.grants + 1;
        self.grants += count;
        Epoch {
            term: Term(self.term),
            grant,
        }
    }

    pub(super) fn can_abort(&self) -> bool {
        self.movement.is_some()
    }

    /// With a home goes what it was doing.
    pub(super) fn died(&mut self, at: u8) {
        if at == self.at {
            self.movement = None;
            self.census = None;
        }
    }

    fn plan(&mut self, attempt: MoveId, source: Host, target: u8) -> Plan {
        Plan {
            attempt,
            spec: process(),
            source,
            target: id(target),
            epoch: self.grant(GRANTS),
            purpose: Purpose::Move,
            forced: false,
            kept: false,
        }
    }
}

impl World {
    pub(super) fn begin_move(&mut self, target: u8) -> Result<(), Broken> {
        let Some(source) = self.home.row else {
            return Ok(());
        };
        self.home.attempts += 1;
        let attempt = MoveId {
            home: self.home_id(),
            number: self.home.attempts,
        };
        let plan = self.home.plan(attempt, source, target);
        let movement = Movement::new(self.now, plan, settings());
        self.home.movement = Some(movement);
        self.drive_home()?;
        self.work_off()
    }

    pub(super) fn abort(&mut self) -> Result<(), Broken> {
        self.tell_movement(MovementInput::Abort("enough".into()))
    }

    pub(super) fn tell_movement(&mut self, input: MovementInput) -> Result<(), Broken> {
        let now = self.now;
        if let Some(movement) = &mut self.home.movement {
            movement.handle(now, input);
        }
        self.drive_home()
    }

    fn order(&mut self, to: u8, order: Order) {
        if to == self.home.at {
            self.jobs.push_back(Job::Order(to, order));
        } else {
            self.send(self.home.at, to, Packet::Order(order));
        }
    }

    fn drive_home(&mut self) -> Result<(), Broken> {
        loop {
            let movement = self.home.movement.as_mut();
            let Some(effect) = movement.and_then(Machine::poll_effect) else {
                return Ok(());
            };
            match effect {
                MovementEffect::Send { to, order } => self.order(number(to), order),
                MovementEffect::Decide(decision) => self.decide(decision),
                MovementEffect::Ready => {
                    let now = self.now;
                    if let Some(movement) = &mut self.home.movement {
                        movement.handle(now, MovementInput::Depart);
                    }
                }
                MovementEffect::Finish(outcome) => self.finish_move(outcome)?,
            }
        }
    }

    fn decide(&mut self, decision: Decision) {
        let (Decision::Commit(host) | Decision::Return(host)) = decision;
        self.home.row = Some(host);
        self.ledger.granted.insert(host.epoch, number(host.node));
        self.publish();
        let Some(plan) = self.home.movement.as_ref().map(|m| m.plan().clone()) else {
            return;
        };
        let extra = match (self.fault, decision) {
            (Fault::Hasty, Decision::Commit(host)) => {
                let (to, epoch) = (host.node, host.epoch);
                Some((plan.source.node, Bid::Retire { to, epoch }))
            }
            (Fault::Careless, Decision::Return(_)) => Some((plan.target, Bid::Discard)),
            _ => None,
        };
        if let Some((to, bid)) = extra {
            let order = Order {
                process: process().id.clone(),
                attempt: plan.attempt,
                term: Term(self.home.term),
                bid,
            };
            self.order(number(to), order);
        }
    }

    fn publish(&mut self) {
        self.newest = self.home.row;
        let at = usize::from(self.home.at);
        self.rows[at] = self.newest;
    }

    fn finish_move(&mut self, outcome: Outcome) -> Result<(), Broken> {
        let target = self.home.movement.take().map(|movement| {
            let plan = movement.plan();
            (number(plan.source.node), number(plan.target))
        });
        judge::h5_h6_outcome(self, &outcome)?;
        if let Outcome::Lost(_) = outcome {
            self.lose()?;
        }
        self.home.outcomes.push(outcome);
        let Some((source, target)) = target else {
            return Ok(());
        };
        let serves = self.home.row.map(|row| number(row.node));
        let next = if serves == Some(source) {
            target
        } else {
            source
        };
        if self.budget.moves > 0 && !self.home.lost && !self.noticed.contains(&next) {
            self.budget.moves -= 1;
            self.begin_move(next)?;
        }
        Ok(())
    }

    fn lose(&mut self) -> Result<(), Broken> {
        self.home.lost = true;
        judge::nobody_has_it(self)
    }

    /// A node tells the home of a move.
    pub(super) fn home_hears(&mut self, from: u8, report: Report) -> Result<(), Broken> {
        if self.home.census.is_some() || !self.is_alive(self.home.at) {
            return Ok(());
        }
        let movement = self.home.movement.as_ref();
        if let Some(movement) = movement {
            if movement.plan().attempt == report.attempt {
                let (from, word) = (id(from), report.word);
                return self.tell_movement(MovementInput::Heard { from, word });
            }
            return Ok(());
        }
        if let Some(stray) = report.stray() {
            self.mend(from, report.attempt, stray);
        }
        Ok(())
    }

    /// Tells one that takes part in a move that nobody makes what to do.
    fn mend(&mut self, at: u8, attempt: MoveId, stray: Stray) {
        if self.fault == Fault::Silent {
            return;
        }
        let grant = self.home.grant(1);
        let Some(bid) = leftover(self.home.row, id(at), stray, grant) else {
            return;
        };
        if let Bid::Resume { epoch } = bid
            && let Some(row) = &mut self.home.row
        {
            row.epoch = epoch;
            self.ledger.granted.insert(epoch, at);
            self.publish();
        }
        let order = Order {
            process: process().id.clone(),
            attempt,
            term: Term(self.home.term),
            bid,
        };
        self.order(at, order);
    }

    pub(super) fn home_disconnected(&mut self, one: u8, other: u8) -> Result<(), Broken> {
        let home = self.home.at;
        if !self.is_alive(home) || self.fault == Fault::Silent {
            return Ok(());
        }
        let peer = match (one == home, other == home) {
            (true, _) => other,
            (_, true) => one,
            _ => return Ok(()),
        };
        let asks = self.home.census.as_ref();
        if asks.is_some_and(|census| census.waits.contains(&peer)) {
            let term = self.home.term;
            self.send(home, peer, Packet::Census { term });
        }
        self.tell_movement(MovementInput::Disconnected(id(peer)))
    }

    /// The engine says that a node is gone.
    pub(super) fn notice(&mut self, dead: u8) -> Result<(), Broken> {
        self.noticed.insert(dead);
        if dead == self.home.at {
            return self.succeed();
        }
        if !self.is_alive(self.home.at) {
            return Ok(());
        }
        if let Some(census) = &mut self.home.census {
            census.waits.remove(&dead);
            census.holdings.remove(&dead);
            return self.end_census();
        }
        if self.home.movement.is_some() {
            return self.tell_movement(MovementInput::Gone(id(dead)));
        }
        if self.home.row.is_some_and(|row| number(row.node) == dead) {
            self.lose()?;
        }
        Ok(())
    }

    /// Another node is the home now.
    fn succeed(&mut self) -> Result<(), Broken> {
        let Some(at) = (0..self.layout.nodes).find(|at| self.is_alive(*at)) else {
            self.home.lost = true;
            return Ok(());
        };
        self.home.at = at;
        self.home.term += 1;
        self.home.grants = 0;
        self.home.row = self.rows[usize::from(at)];
        let term = self.home.term;
        let all = (0..self.layout.nodes).filter(|node| !self.noticed.contains(node));
        let waits: BTreeSet<u8> = all.collect();
        self.home.census = Some(Census {
            waits: waits.clone(),
            holdings: BTreeMap::new(),
        });
        for node in waits {
            if node == at {
                self.count_here(at, term)?;
            } else {
                self.send(at, node, Packet::Census { term });
            }
        }
        Ok(())
    }

    pub(super) fn census_hears(
        &mut self,
        from: u8,
        term: u64,
        holding: Option<Holding>,
    ) -> Result<(), Broken> {
        if term != self.home.term {
            return Ok(());
        }
        let Some(census) = &mut self.home.census else {
            return Ok(());
        };
        if census.waits.remove(&from) {
            census.holdings.insert(from, holding);
        }
        if self.fault == Fault::Rash {
            census.waits.clear();
        }
        self.end_census()
    }

    fn end_census(&mut self) -> Result<(), Broken> {
        let Some(census) = self.home.census.take_if(|census| census.waits.is_empty()) else {
            return Ok(());
        };
        let holdings = census.holdings.into_iter();
        let holdings: Vec<_> = holdings
            .filter_map(|(at, holding)| Some((id(at), holding?)))
            .collect();
        let row = self.home.row.map(|row| row.epoch);
        match resolve(&holdings, row, false) {
            Resolution::Serves(host) => {
                self.home.row = Some(host);
                self.publish();
                for (at, holding) in holdings {
                    if let Some((attempt, stray)) = holding.stray() {
                        self.mend(number(at), attempt, stray);
                    }
                }
            }
            Resolution::Activate {
                host,
                attempt,
                source: node,
            } => {
                let source = Host {
                    node,
                    epoch: row.unwrap_or_default(),
                    role: Role::Active,
                    filled: true,
                };
                let plan = self.home.plan(attempt, source, number(host.node));
                self.inherit(Movement::activating(self.now, plan, settings(), host))?;
            }
            Resolution::Return {
                source,
                attempt,
                target,
            } => {
                let plan = self.home.plan(attempt, source, number(target));
                self.inherit(Movement::returning(self.now, plan, settings()))?;
            }
            Resolution::Land {
                target,
                attempt,
                source: node,
            } => {
                let source = Host {
                    node,
                    epoch: row.unwrap_or_default(),
                    role: Role::Active,
                    filled: true,
                };
                let plan = self.home.plan(attempt, source, number(target));
                self.inherit(Movement::inquiring(self.now, plan, settings()))?;
            }
            Resolution::Restart => self.lose()?,
        }
        Ok(())
    }

    fn inherit(&mut self, movement: Movement) -> Result<(), Broken> {
        self.home.movement = Some(movement);
        self.drive_home()?;
        for dead in self.noticed.clone() {
            self.tell_movement(MovementInput::Gone(id(dead)))?;
        }
        Ok(())
    }
}
