//! A home finds moves that it did not begin, and copies that ran apart.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::host_at;
use crate::event::Event;
use crate::identity::{Epoch, MoveId, NodeId, ProcessId, ShardId};
use crate::message::{Change, Hosted, Told};
use crate::migration::{Bid, Holding, Movement, Purpose, Reason, Resolution, leftover, resolve};
use crate::node::{Effect, Failure, Node, Timer};
use crate::row::{Host, Role, Row, Rows};

impl<R: Rows> Node<R> {
    /// Nobody answers for a process, but it was on its way: it serves again on one of the two ends,
    /// or one of its `passive` replicas takes over that has its state.
    pub(crate) fn resolve_move(
        &mut self,
        shard: ShardId,
        row: &Row,
        moving: &[(NodeId, Holding)],
        passive: &[Host],
    ) {
        let filled = passive.iter().any(|host| host.filled);
        let kept = self.settings.redundancy.keeps_state() && filled;
        let known = row.active().map(|host| host.epoch);
        let source_of = |node| {
            host_at(row, node).unwrap_or(Host {
                node,
                epoch: known.unwrap_or_default(),
                role: Role::Active,
                filled: true,
            })
        };
        let mut decided = None;
        let (attempt, source, target) = match resolve(moving, known, kept) {
            Resolution::Activate {
                host,
                attempt,
                source,
            } => {
                decided = Some(host);
                (attempt, source_of(source), host.node)
            }
            Resolution::Return {
                source,
                attempt,
                target,
            } => (attempt, source, target),
            Resolution::Land {
                target,
                attempt,
                source,
            } => (attempt, source_of(source), target),
            Resolution::Serves(_) | Resolution::Restart => {
                if row.hosts() != passive {
                    let change = Change::Put(row.with_hosts(passive));
                    self.publish(shard, change);
                }
                for (node, holding) in moving {
                    self.let_go(shard, row.id(), *node, holding);
                }
                return;
            }
        };
        // The row is here at all events, so that the decision finds it.
        if self.rows.get(row.id()).is_none() {
            self.publish(shard, Change::Put(row.clone()));
        }
        let who = (attempt, source, target);
        let Some(plan) = self.plan(shard, row, who, Purpose::Move, false) else {
            return;
        };
        let (now, settings) = (self.now, self.settings.migration);
        let departs = moving.iter().any(|(node, _)| *node == source.node);
        let movement = match decided {
            Some(host) => Movement::activating(now, plan, settings, host),
            None if departs => Movement::returning(now, plan, settings),
            None => Movement::inquiring(now, plan, settings),
        };
        self.follow(shard, movement, None);
        if self.merges() {
            self.others_go_on(shard, row.id(), moving, attempt);
        }
    }

    /// Copies that ran apart, and were on their way while another one was taken for the process, go on
    /// where nobody has what they were: they are merged when its move is over.
    fn others_go_on(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        moving: &[(NodeId, Holding)],
        taken: MoveId,
    ) {
        for (node, holding) in moving {
            if let Holding::Departing { attempt, sent, .. } = *holding
                && attempt != taken
                && (!sent || lands(moving, attempt))
            {
                self.goes_on_beside(shard, process, *node, attempt);
            }
        }
    }

    /// A process runs, and nodes have something of moves of it that an earlier home made: they let
    /// go of it. A copy that ran apart and froze for one of them goes on first, as long as whom it was
    /// sent to has not taken it up: so it is merged after all.
    pub(crate) fn settle_moves(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        moving: &[(NodeId, Holding)],
    ) {
        let serves = self.rows.get(process).as_ref().and_then(Row::active);
        for (node, holding) in moving {
            match holding {
                Holding::Departing { attempt, .. }
                    if lands(moving, *attempt) && self.is_apart(serves, *node) =>
                {
                    self.goes_on_beside(shard, process, *node, *attempt);
                }
                // It runs soon, whatever is said here: then it is one copy too many.
                Holding::Activating { .. } => self.count_again(shard, *node),
                _ => self.let_go(shard, process, *node, holding),
            }
        }
    }

    /// Lets a copy go on that froze for a merge. Whether it is one.
    pub(crate) fn resume_unmerged(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        node: NodeId,
        attempt: MoveId,
    ) -> bool {
        let Some(home) = self.homes.get_mut(&shard) else {
            return false;
        };
        if !home.unmerged.contains(&(process.clone(), node)) {
            return false;
        }
        let epoch = home.epoch();
        self.order(shard, node, (attempt, process), Bid::Resume { epoch });
        true
    }

    /// A copy that froze for a merge has gone on: now it can be merged. Whether it is one.
    pub(crate) fn resumed_unmerged(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        node: NodeId,
        epoch: Epoch,
    ) -> bool {
        let copy = (process.clone(), node);
        let home = self.homes.get_mut(&shard);
        if !home.is_some_and(|home| home.unmerged.remove(&copy)) {
            return false;
        }
        if self.end_if_over(shard, process, node, epoch) {
            // It was stopped meanwhile.
            return true;
        }
        if let Some(home) = self.homes.get_mut(&shard) {
            home.apart.entry(process.clone()).or_default().push(Host {
                node,
                epoch,
                role: Role::Active,
                filled: true,
            });
        }
        self.merge_next(shard, process);
        true
    }

    /// A node has something of a process that serves elsewhere, or nowhere any more.
    pub(crate) fn let_go(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        node: NodeId,
        holding: &Holding,
    ) {
        let serves = self.rows.get(process).as_ref().and_then(Row::active);
        if let (
            Some(host),
            Holding::Departing {
                attempt,
                epoch,
                sent,
                ..
            },
        ) = (serves, *holding)
            && self.is_apart(serves, node)
        {
            // Whether its state arrived where it was sent, it says by itself.
            if !sent || host.epoch <= epoch {
                self.goes_on_beside(shard, process, node, attempt);
            }
            return;
        }
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let grant = home.epoch();
        let (attempt, epoch): (MoveId, Epoch) = match *holding {
            Holding::Departing { attempt, epoch, .. } | Holding::Landing { attempt, epoch, .. } => {
                (attempt, epoch)
            }
            Holding::Running { .. } | Holding::Activating { .. } | Holding::Ending { .. } => {
                return;
            }
        };
        let Some((_, stray)) = holding.stray() else {
            return;
        };
        match leftover(serves, node, stray, grant) {
            Some(bid) => self.order(shard, node, (attempt, process), bid),
            None if serves.is_none() => self.end_copy(shard, process, node, epoch),
            None => {}
        }
    }

    /// Whether what a node has may be from the other side of a divided network, beside who serves.
    pub(super) fn is_apart(&self, serves: Option<Host>, node: NodeId) -> bool {
        self.merges() && serves.is_some_and(|host| host.node != node)
    }

    /// Whether copies that ran apart are merged.
    fn merges(&self) -> bool {
        !self.settings.guarantees.exclusive && self.replicas() == 1
    }

    /// A frozen copy goes on, and is merged then.
    pub(super) fn goes_on_beside(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        node: NodeId,
        attempt: MoveId,
    ) {
        if let Some(home) = self.homes.get_mut(&shard) {
            home.unmerged.insert((process.clone(), node));
        }
        self.resume_unmerged(shard, process, node, attempt);
    }

    /// Takes out those that cannot all run one process. Passive replicas that are too many end when
    /// the others have the state.
    pub(super) fn too_many(&self, running: &mut Vec<(NodeId, Hosted)>) -> Vec<(NodeId, Hosted)> {
        if self.settings.redundancy.role(1) == Role::Active {
            return running.split_off(running.len().min(self.replicas()));
        }
        let mut answers = false;
        let apart = running.extract_if(.., |(_, hosted)| {
            hosted.role == Role::Active && core::mem::replace(&mut answers, true)
        });
        apart.collect()
    }

    /// More run a process than should. Where the network can have been divided they are merged
    /// into the one that is kept, one after the other; otherwise they were replaced, and end.
    pub(crate) fn keep_apart(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        apart: Vec<(NodeId, Hosted)>,
    ) {
        for (node, hosted) in apart {
            if !self.merges() || !hosted.ready {
                self.end_copy(shard, process, node, hosted.epoch);
            } else if let Some(home) = self.homes.get_mut(&shard) {
                home.apart.entry(process.clone()).or_default().push(Host {
                    node,
                    epoch: hosted.epoch,
                    role: hosted.role,
                    filled: hosted.filled,
                });
            }
        }
    }

    /// A copy could not be merged this time, and goes on beside the one that was kept.
    pub(crate) fn unmerged(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        attempt: MoveId,
        copy: Host,
        why: &Reason,
    ) -> Told {
        let serves = copy.node;
        let at = self.now + self.settings.migration.repeat;
        if let Some(home) = self.homes.get_mut(&shard) {
            home.apart.entry(process.clone()).or_default().push(copy);
            home.merges.insert(process.clone(), at);
        }
        self.timers.set_sooner(Timer::Review(shard), at);
        self.not_moved(process, attempt, serves, why.to_string())
    }

    /// A copy could not be merged at all: what it was is gone, and that is told.
    pub(super) fn other_dropped(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        serves: NodeId,
        why: &Reason,
    ) -> Told {
        let reason = alloc::format!("what its other copy was is dropped: {why}");
        self.not_moved(process, attempt, serves, reason)
    }

    /// Reports that a move failed, and who serves; returns what its askers are told.
    pub(super) fn not_moved(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        serves: NodeId,
        reason: String,
    ) -> Told {
        self.flights.counts.failed();
        self.effects.push_back(Effect::Report(Event::MoveFailed {
            attempt,
            process: process.clone(),
            serves,
            reason: reason.clone(),
        }));
        Told::Failed(Failure::NotMoved { serves, reason })
    }

    /// Merges what could not be merged before.
    pub(crate) fn merge_again(&mut self, shard: ShardId) {
        let home = self.homes.get(&shard);
        let apart = home.map_or_else(Vec::new, |home| home.apart.keys().cloned().collect());
        for process in apart {
            self.merge_next(shard, &process);
        }
    }

    /// Merges the next copy of a process that ran apart.
    pub(crate) fn merge_next(&mut self, shard: ShardId, process: &ProcessId) {
        let Some(row) = self.rows.get(process) else {
            return;
        };
        let Some(serves) = row.active() else {
            return;
        };
        if self.is_busy(shard, process) {
            return;
        }
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        if let Some(at) = home.merges.get(process).filter(|at| **at > self.now) {
            self.timers.set_sooner(Timer::Review(shard), *at);
            return;
        }
        home.merges.remove(process);
        let copy = loop {
            let Some(copies) = home.apart.get_mut(process) else {
                return;
            };
            match copies.pop() {
                Some(copy) if self.members.has(copy.node) => break copy,
                Some(_) => {}
                None => {
                    home.apart.remove(process);
                    return;
                }
            }
        };
        let epoch = serves.epoch;
        let purpose = Purpose::Merge { serves: epoch };
        self.launch(shard, &row, copy, serves.node, purpose, None);
    }
}

/// Whether the state of a move waits at its target and was not taken up.
fn lands(moving: &[(NodeId, Holding)], of: MoveId) -> bool {
    let mut all = moving.iter();
    all.any(|(_, holding)| matches!(holding, Holding::Landing { attempt, .. } if *attempt == of))
}
