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
        if let Some(home) = self.homes.get_mut(&shard) {
            let (process, ended) = (process.clone(), home.epoch());
            self.publish(shard, Change::Remove { process, ended });
        }
    }

    /// Tells a node to end its copy.
    pub(crate) fn end_copy(&mut self, shard: ShardId, node: NodeId, hosted: &Hosted) {
        let Some(home) = self.homes.get(&shard) else {
            return;
        };
        let item = Item::End {
            process: hosted.spec.id.clone(),
            epoch: hosted.epoch,
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
        let Some(term) = self.homes.get(&shard).map(|home| home.term) else {
            return;
        };
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
            let process = process.clone();
            let item = Item::End {
                process,
                epoch,
                term,
            };
            self.outbox.say(node, item);
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
