//! Processes that a home moves from one node to another.
//!
//! Each move is a [`Movement`] of its own with its own deadline: one that fails or defers holds up
//! no other (H10). Which moves there are follows from where children should run; how many at once,
//! from the pace.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use handover_proto::moment::Machine;

use super::work::{Doing, Moving, Work};
use super::{Asker, Later};
use crate::event::Event;
use crate::identity::{MoveId, NodeId, ProcessId, ShardId};
use crate::message::{Change, Item, Told};
use crate::migration::{
    Bid, Decision, Deferral, GRANTS, Movement, MovementEffect, MovementInput, Outcome, Plan,
    Purpose, Reason, Report, Word,
};
use crate::node::{Effect, Failure, Node, Timer};
use crate::pace::Next;
use crate::row::{Host, Row, Rows};

impl<R: Rows> Node<R> {
    /// A process should run elsewhere: it moves when its turn comes.
    pub(crate) fn want_move(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        from: NodeId,
        to: NodeId,
    ) {
        let home = self.table.wanted(shard);
        if home.is_some_and(|home| home != self.me.id && self.members.has(home)) {
            // The home that it is about to have sees to it.
            return;
        }
        let later = self
            .homes
            .get(&shard)
            .and_then(|home| home.later.get(process));
        if let Some(at) = later.map(|later| later.at).filter(|at| *at > self.now) {
            self.timers.set_sooner(Timer::Review(shard), at);
            return;
        }
        self.pace.want(shard, process, (from, to));
    }

    /// Begins the moves whose turn it is.
    pub(crate) fn begin_moves(&mut self) {
        if self.is_still() || self.settling {
            return;
        }
        let (next, again) = self.pace.next(self.now);
        let mut room = false;
        for next in next {
            room |= !self.begin_move(next);
        }
        // Others may begin in place of those that were not wanted any more.
        let again = if room { Some(self.now) } else { again };
        if let Some(at) = again.filter(|_| self.pace.waiting() > 0) {
            self.timers.set_sooner(Timer::Pace, at);
        }
    }

    /// Begins a move if it is wanted still. Returns whether it is under way.
    fn begin_move(&mut self, next: Next) -> bool {
        let Next {
            shard,
            process,
            from,
            to,
        } = next;
        let wanted = !self.is_busy(shard, &process) && self.still_wants(shard, &process, from, to);
        let row = self.rows.get(&process).filter(|_| wanted);
        let source = row.as_ref().and_then(|row| host_at(row, from));
        self.pace.ended((from, to));
        let (Some(row), Some(source)) = (row, source) else {
            return false;
        };
        let named = self.emptying.get(&from).is_some_and(|e| !e.to.is_empty());
        if let Some(home) = self.homes.get_mut(&shard).filter(|_| named) {
            home.placed.insert(process, to);
        }
        self.launch(shard, &row, source, to, Purpose::Move, None);
        self.moving(shard, row.id()).is_some()
    }

    /// Begins a move.
    pub(crate) fn launch(
        &mut self,
        shard: ShardId,
        row: &Row,
        source: Host,
        target: NodeId,
        purpose: Purpose,
        asker: Option<Asker>,
    ) {
        let forced = self.homes.get(&shard).is_some_and(|home| {
            let later = home
                .later
                .get(row.id())
                .and_then(|later| later.deferral.as_ref());
            later.is_some_and(|deferral| deferral.is_over(self.now, &self.settings.migration))
        });
        // A copy beside the one that was kept is not asked whether it wants to end.
        let forced = forced || matches!(purpose, Purpose::Merge { .. });
        self.moves += 1;
        let attempt = MoveId {
            home: self.me.id,
            number: self.moves,
        };
        let Some(plan) = self.plan(shard, row, (attempt, source, target), purpose, forced) else {
            return;
        };
        self.effects.push_back(Effect::Report(Event::Moving {
            attempt,
            process: row.id().clone(),
            from: source.node,
            to: target,
        }));
        let movement = Movement::new(self.now, plan, self.settings.migration);
        self.follow(shard, movement, asker);
    }

    pub(crate) fn plan(
        &mut self,
        shard: ShardId,
        row: &Row,
        who: (MoveId, Host, NodeId),
        purpose: Purpose,
        forced: bool,
    ) -> Option<Plan> {
        let (attempt, source, target) = who;
        let home = self.homes.get_mut(&shard)?;
        Some(Plan {
            attempt,
            spec: row.spec().clone(),
            source,
            target,
            epoch: home.epochs(GRANTS),
            purpose,
            forced,
            kept: self.settings.redundancy.keeps_state(),
        })
    }

    /// Follows a movement to its end.
    pub(crate) fn follow(&mut self, shard: ShardId, movement: Movement, asker: Option<Asker>) {
        let process = movement.process().clone();
        let plan = movement.plan();
        let ends = [plan.source.node, plan.target];
        self.pace.begun((plan.source.node, plan.target));
        let moving = Moving {
            movement: Box::new(movement),
            began: self.now,
            turn: None,
            departs: None,
            pause_ns: 0,
        };
        let work = Work::new(Doing::Moving(moving), asker, self.now);
        if let Some(home) = self.homes.get_mut(&shard) {
            home.work.insert(process.clone(), work);
            self.drive_move(shard, &process, None);
        }
        // Whoever was gone before is not said to be gone again: an earlier home began it.
        for node in ends {
            if !self.members.has(node) {
                self.drive_move(shard, &process, Some(MovementInput::Gone(node)));
            }
        }
    }

    /// Gives a movement an input, and does what it wants.
    pub(crate) fn drive_move(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        input: Option<MovementInput>,
    ) {
        let now = self.now;
        let Some(moving) = self.moving(shard, process) else {
            return;
        };
        if let Some(input) = input {
            moving.movement.handle(now, input);
        }
        let mut effects = Vec::new();
        while let Some(effect) = moving.movement.poll_effect() {
            if let MovementEffect::Send { order, .. } = &effect {
                moving.measure(now, &order.bid);
            }
            effects.push(effect);
        }
        let deadline = moving.movement.next_deadline();
        let timer = Timer::Move(shard, process.clone());
        match deadline {
            Some(at) => self.timers.set(timer, at),
            None => self.timers.clear(&timer),
        }
        for effect in effects {
            match effect {
                MovementEffect::Decide(decision) => self.decide(shard, process, decision),
                MovementEffect::Send { to, order } => {
                    if matches!(order.bid, Bid::Retire { .. }) {
                        self.serves(shard, process);
                    }
                    self.outbox.say(to, Item::Order(order));
                }
                MovementEffect::Ready => self.ready(shard, process),
                MovementEffect::Finish(outcome) => self.move_ended(shard, process, outcome),
            }
        }
    }

    pub(super) fn moving(&mut self, shard: ShardId, process: &ProcessId) -> Option<&mut Moving> {
        match &mut self.homes.get_mut(&shard)?.work.get_mut(process)?.doing {
            Doing::Moving(moving) => Some(moving),
            Doing::Starting(_) | Doing::Stopping(_) => None,
        }
    }

    /// The one decision of a move: the row says who has it from now on (H5, H6).
    fn decide(&mut self, shard: ShardId, process: &ProcessId, decision: Decision) {
        let (Decision::Commit(host) | Decision::Return(host)) = decision;
        let Some(plan) = self.moving(shard, process).map(|m| m.movement.plan()) else {
            return;
        };
        // An earlier home may have decided for the target already.
        let ends = [plan.source.node, plan.target, host.node];
        let Some(row) = self.rows.get(process) else {
            return;
        };
        let others = row.hosts().iter().filter(|h| !ends.contains(&h.node));
        let mut hosts: Vec<Host> = others.copied().collect();
        hosts.insert(0, host);
        self.publish(shard, Change::Put(row.with_hosts(&hosts)));
    }

    fn move_ended(&mut self, shard: ShardId, process: &ProcessId, outcome: Outcome) {
        self.timers.clear(&Timer::Move(shard, process.clone()));
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        home.sent.remove(process);
        let Some(work) = home.work.remove(process) else {
            return;
        };
        let Doing::Moving(moving) = &work.doing else {
            return;
        };
        let plan = moving.movement.plan();
        moving.leave(&mut self.pace);
        let told = match &outcome {
            Outcome::Unmerged { host, reason } => {
                home.later.remove(process);
                self.other_dropped(process, plan.attempt, host.node, reason)
            }
            Outcome::Moved(host) => {
                home.later.remove(process);
                self.flights.counts.moved(self.now, moving.pause_ns);
                self.effects.push_back(Effect::Report(Event::Moved {
                    attempt: plan.attempt,
                    process: process.clone(),
                    to: host.node,
                    pause_ns: moving.pause_ns,
                }));
                Told::Moved {
                    node: host.node,
                    pause_ns: moving.pause_ns,
                }
            }
            Outcome::Stayed { host, reason } => {
                self.stayed(shard, process, plan.attempt, *host, reason)
            }
            Outcome::Apart { host, reason } => {
                self.unmerged(shard, process, plan.attempt, *host, reason)
            }
            Outcome::Lost(reason) => {
                let serves = plan.source.node;
                self.nobody_serves(shard, process);
                let reason = reason.to_string();
                Told::Failed(Failure::NotMoved { serves, reason })
            }
        };
        let merged = matches!(plan.purpose, Purpose::Merge { .. });
        let target = plan.target;
        // Members may have come or gone since it began.
        let row = self.rows.get(process);
        let strays = row.is_some_and(|row| {
            let wanted = self.wanted(shard, &row.spec(), row.hosts());
            !wanted.iter().any(|(node, _)| *node == target)
        });
        if merged || strays || self.replicas() > 1 {
            self.sweep.insert(shard);
        }
        for asker in work.askers {
            self.tell_when_held(shard, asker, process.clone(), told.clone());
        }
        for (asker, ask, again) in work.then {
            self.asked(asker, process.clone(), ask, again);
        }
        self.merge_next(shard, process);
    }

    /// It serves where it was, and is asked again later (H10).
    fn stayed(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        attempt: MoveId,
        host: Host,
        why: &Reason,
    ) -> Told {
        let (now, migration) = (self.now, self.settings.migration);
        let told = self.not_moved(process, attempt, host.node, why.to_string());
        if *why == Reason::HomeChanged {
            // Where it goes is for this home to say, which has not asked it yet.
            self.sweep.insert(shard);
        } else if let Some(home) = self.homes.get_mut(&shard) {
            let later = home.later.entry(process.clone()).or_insert(Later {
                at: now,
                deferral: None,
            });
            if *why == Reason::Deferred {
                let deferral = later.deferral.get_or_insert(Deferral::new(now));
                deferral.again(now);
                later.at = deferral.due(&migration);
                let process = process.clone();
                self.flights.counts.deferred();
                self.effects
                    .push_back(Effect::Report(Event::Deferred { process }));
            } else {
                later.at = now + migration.ask_again;
            }
            home.placed.remove(process);
            let at = later.at;
            self.timers.set_sooner(Timer::Review(shard), at);
        }
        told
    }

    /// Both ends of a move are gone: it is started again from what was kept.
    fn nobody_serves(&mut self, shard: ShardId, process: &ProcessId) {
        if let Some(row) = self.rows.get(process) {
            let members = &self.members;
            let rest = row.hosts().iter().filter(|h| members.has(h.node)).copied();
            let rest: Vec<Host> = rest
                .filter(|host| host.role != crate::row::Role::Active)
                .collect();
            self.publish(shard, Change::Put(row.with_hosts(&rest)));
        }
        self.sweep.insert(shard);
    }

    /// A party of a move says something.
    pub(crate) fn heard_reported(&mut self, from: NodeId, report: Report) {
        let shard = self.shard_of(&report.process);
        if !self.decides(shard) {
            return;
        }
        if let Some(moving) = self.moving(shard, &report.process) {
            if moving.movement.plan().attempt == report.attempt {
                let word = report.word;
                let input = MovementInput::Heard { from, word };
                self.drive_move(shard, &report.process, Some(input));
                return;
            }
        } else if self.is_busy(shard, &report.process) {
            if let Word::Activated { epoch, result } = report.word {
                let result = result.map_err(Into::into);
                self.heard_granted(from, &report.process, epoch, result);
            }
            return;
        }
        self.left_over(shard, from, &report);
    }

    /// Orders something of a move that is not followed.
    pub(crate) fn order(&mut self, shard: ShardId, to: NodeId, of: (MoveId, &ProcessId), bid: Bid) {
        let Some(term) = self.homes.get(&shard).map(|home| home.term) else {
            return;
        };
        let order = crate::migration::Order {
            process: of.1.clone(),
            attempt: of.0,
            term,
            bid,
        };
        self.outbox.say(to, Item::Order(order));
    }

    /// Gives all movements an input that may concern them.
    pub(crate) fn tell_movements(&mut self, input: &MovementInput) {
        let mut all: Vec<(ShardId, ProcessId)> = Vec::new();
        for (&shard, home) in &self.homes {
            let moving = home
                .work
                .iter()
                .filter(|(_, w)| matches!(w.doing, Doing::Moving(_)));
            all.extend(moving.map(|(process, _)| (shard, process.clone())));
        }
        for (shard, process) in all {
            self.drive_move(shard, &process, Some(input.clone()));
        }
    }

    /// A process that deferred is ready: it need not wait.
    pub(crate) fn ready_to_move(&mut self, shard: ShardId, process: &ProcessId) {
        if let Some(home) = self.homes.get_mut(&shard)
            && home.later.remove(process).is_some()
        {
            self.sweep.insert(shard);
        }
    }

    /// The next step of a move is due.
    pub(crate) fn move_due(&mut self, shard: ShardId, process: &ProcessId) {
        self.drive_move(shard, process, Some(MovementInput::Tick));
    }
}

/// The host at a node.
pub(crate) fn host_at(row: &Row, node: NodeId) -> Option<Host> {
    row.hosts().iter().copied().find(|host| host.node == node)
}
