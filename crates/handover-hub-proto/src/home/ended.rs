//! Children that ended for good stay ended, also where somebody runs them who did not hear of it.

use alloc::vec::Vec;

use crate::identity::{Epoch, NodeId, ProcessId, ShardId};
use crate::message::{Change, Hosted, Item};
use crate::migration::Holding;
use crate::node::Node;
use crate::row::{Row, Rows};

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

    /// Whether all that a row says is from before its child's end.
    pub(super) fn is_row_over(&self, shard: ShardId, row: &Row) -> bool {
        let mut hosts = row.hosts().iter();
        !row.hosts().is_empty() && hosts.all(|host| self.is_over(shard, row.id(), host.epoch))
    }
}
