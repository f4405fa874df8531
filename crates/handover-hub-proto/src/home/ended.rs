//! Children that ended for good stay ended, also where somebody runs them who did not hear of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::census::Found;
use super::{Doing, Home, Stopping, host_at};
use crate::identity::{Epoch, NodeId, ProcessId, ShardId};
use crate::message::{Change, Departed, Hosted, Item};
use crate::migration::Holding;
use crate::node::Node;
use crate::row::{Host, Role, Row, Rows};

impl<R: Rows> Node<R> {
    /// A child has ended for good, wherever it runs.
    pub(crate) fn bury(&mut self, shard: ShardId, process: &ProcessId) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let ended = home.epoch();
        let apart = home.apart.remove(process).unwrap_or_default();
        for copy in apart {
            self.end_copy(shard, process, copy.node, copy.epoch);
        }
        let process = process.clone();
        self.publish(shard, Change::Remove { process, ended });
    }

    /// Tells a node to end its copy.
    pub(crate) fn end_copy(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        node: NodeId,
        epoch: Epoch,
    ) {
        let Some(home) = self.homes.get(&shard) else {
            return;
        };
        let item = Item::End {
            process: process.clone(),
            epoch,
            term: home.term,
        };
        self.outbox.say(node, item);
    }

    /// Whether a child ended after it was granted this.
    pub(crate) fn is_over(&self, shard: ShardId, process: &ProcessId, epoch: Epoch) -> bool {
        self.buried.covers(shard, process, epoch)
    }

    /// Ends whatever nodes have of a child from before its end; keeps the rest.
    pub(super) fn end_late(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        running: &mut Vec<(NodeId, Hosted)>,
        moving: &mut Vec<(NodeId, Holding)>,
    ) {
        let running = running.extract_if(.., |(_, hosted)| {
            self.buried.covers(shard, process, hosted.epoch)
        });
        let mut late: Vec<(NodeId, Epoch)> = running.map(|(node, h)| (node, h.epoch)).collect();
        let mut strays = Vec::new();
        for (node, holding) in moving.extract_if(.., |(_, holding)| {
            self.buried.covers(shard, process, holding.epoch())
        }) {
            match holding {
                Holding::Landing { .. } => strays.push((node, holding)),
                _ => late.push((node, holding.epoch())),
            }
        }
        for (node, epoch) in late {
            self.end_copy(shard, process, node, epoch);
        }
        for (node, holding) in strays {
            self.let_go(shard, process, node, &holding);
        }
    }

    /// Ends a copy from before the end of its child. Whether it is one.
    pub(super) fn end_if_over(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        node: NodeId,
        epoch: Epoch,
    ) -> bool {
        let over = self.is_over(shard, process, epoch);
        if over {
            self.end_copy(shard, process, node, epoch);
        }
        over
    }

    /// Whether nodes are ending a process that nobody else has, for an earlier home or since they
    /// leave: it is waited for until they have.
    pub(super) fn ends_still(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        row: Option<&Row>,
        found: &Found,
    ) -> bool {
        let Found {
            running,
            moving,
            ending,
            ..
        } = found;
        let Some(newest) = ending.iter().map(|(_, hosted)| hosted.epoch).max() else {
            return false;
        };
        // Of what it was asked to send, nothing went before it was to end, or it went on since.
        let late = |holding: &Holding| match *holding {
            Holding::Landing { epoch, whole, .. } => !whole || newest > epoch,
            _ => false,
        };
        let answers = |(_, hosted): &(NodeId, Hosted)| hosted.role == Role::Active;
        if running.iter().any(answers) || !moving.iter().all(|(_, holding)| late(holding)) {
            return false;
        }
        for (node, holding) in moving {
            self.let_go(shard, process, *node, holding);
        }
        self.await_end(shard, process, row, ending, running);
        true
    }

    /// Nodes are ending a process, and may answer until they have (H2). What a home had ended stays
    /// ended.
    pub(super) fn await_end(
        &mut self,
        shard: ShardId,
        process: &ProcessId,
        row: Option<&Row>,
        ending: &[(NodeId, Hosted)],
        standing_by: &[(NodeId, Hosted)],
    ) {
        let listed = |node: NodeId, hosted: &Hosted| {
            let host = row.and_then(|row| host_at(row, node));
            host.is_some_and(|host| host.epoch <= hosted.epoch)
        };
        let for_good = ending.iter().any(|(node, hosted)| {
            let said = matches!(hosted.holding, Holding::Ending { for_good: true, .. });
            said && listed(*node, hosted)
        });
        let others = standing_by.iter().filter(|_| for_good);
        let pending: BTreeMap<NodeId, Epoch> = ending
            .iter()
            .chain(others)
            .map(|(node, hosted)| (*node, hosted.epoch))
            .collect();
        let stopping = Stopping {
            nodes: pending.keys().copied().collect(),
            pending,
            for_good,
        };
        self.begin(shard, process, Doing::Stopping(stopping), None);
    }

    /// Nodes have ended a process that begins again elsewhere.
    pub(super) fn have_ended(&mut self, shard: ShardId, process: &ProcessId, ended: &Stopping) {
        if let Some(row) = self.rows.get(process) {
            let hosts = row.hosts().iter().copied();
            let rest: Vec<Host> = hosts
                .filter(|host| !ended.nodes.contains(&host.node))
                .collect();
            if rest != row.hosts() {
                self.publish(shard, Change::Put(row.with_hosts(&rest)));
            }
        }
        self.sweep.insert(shard);
    }

    /// The answer of a host that ended a process by itself.
    pub(crate) fn departed(&mut self, node: NodeId, gone: Departed) {
        let shard = self.shard_of(&gone.process);
        if !self.homes.get(&shard).is_some_and(Home::is_live) {
            return;
        }
        self.outbox.say(node, Item::Noted(gone.clone()));
        let Some(row) = self.rows.get(&gone.process) else {
            return;
        };
        let is_it = |host: &Host| host.node == node && host.epoch == gone.epoch;
        if !row.hosts().iter().any(is_it) {
            return;
        }
        let rest: Vec<Host> = row.hosts().iter().copied().filter(|h| !is_it(h)).collect();
        if rest.is_empty() {
            self.bury(shard, &gone.process);
        } else {
            self.publish(shard, Change::Put(row.with_hosts(&rest)));
        }
        self.sweep.insert(shard);
    }

    /// Whether all that a row says is from before its child's end.
    pub(super) fn is_row_over(&self, shard: ShardId, row: &Row) -> bool {
        let mut hosts = row.hosts().iter();
        !row.hosts().is_empty() && hosts.all(|host| self.is_over(shard, row.id(), host.epoch))
    }
}
