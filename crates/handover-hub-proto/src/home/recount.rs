//! A home counts again what one node runs: its connection had broken, or it joined.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::census::listed;
use crate::identity::{NodeId, ProcessId, ShardId};
use crate::message::{Change, Hosted, Report};
use crate::migration::Holding;
use crate::node::Node;
use crate::row::{Host, Role, Row, Rows};

impl<R: Rows> Node<R> {
    /// Brings the rows in line with what one node says that it runs.
    pub(super) fn recounted(&mut self, shard: ShardId, node: NodeId, report: Report) {
        for gone in report.departed {
            self.departed(node, gone);
        }
        let mut hosted: BTreeMap<ProcessId, Hosted> = BTreeMap::new();
        for one in report.hosted {
            hosted.insert(one.spec.id.clone(), one);
        }
        let mut busy = false;
        for (process, holding) in report.landing {
            if !self.is_busy(shard, &process) {
                self.let_go(shard, &process, node, &holding);
            }
        }
        for row in self.rows.shard(shard) {
            let found = hosted.remove(row.id());
            busy |= self.recount_row(shard, node, &row, found);
        }
        for (process, found) in hosted {
            match found.holding {
                Holding::Activating { .. } => busy = true,
                Holding::Ending { .. } => {}
                _ if self.is_busy(shard, &process) => busy = true,
                _ => self.unlisted(shard, node, &found),
            }
        }
        // What is under way settles first; then it is counted once more.
        if let Some(home) = self.homes.get_mut(&shard).filter(|_| busy) {
            home.recount.insert(node);
            self.retry_later();
        }
    }

    /// What a node has of one child that has a row. Whether something is under way that must settle
    /// first.
    fn recount_row(
        &mut self,
        shard: ShardId,
        node: NodeId,
        row: &Row,
        found: Option<Hosted>,
    ) -> bool {
        let listed = row.hosts().iter().find(|host| host.node == node).copied();
        if self.is_busy(shard, row.id()) {
            return listed.is_some() || found.is_some();
        }
        match (listed, found) {
            (_, Some(found)) if matches!(found.holding, Holding::Ending { .. }) => {
                if listed.is_some() && found.role == Role::Active {
                    self.await_end(shard, row.id(), Some(row), &[(node, found)], &[]);
                }
            }
            // A home before this one had decided for it: soon it is one copy too many.
            (None, Some(found)) if matches!(found.holding, Holding::Activating { .. }) => {
                return true;
            }
            (Some(_), None) => {
                let hosts = row.hosts().iter().copied();
                let rest: Vec<Host> = hosts.filter(|host| host.node != node).collect();
                self.publish(shard, Change::Put(row.with_hosts(&rest)));
                self.sweep.insert(shard);
            }
            (None, Some(found)) => self.unlisted(shard, node, &found),
            (Some(host), Some(found)) if found.epoch > host.epoch => {
                self.unlisted(shard, node, &found);
            }
            (Some(host), Some(found)) if found.epoch == host.epoch => {
                self.count_filled(shard, row, host, found.filled);
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        false
    }

    /// A node runs what the rows do not say. Where two homes can have been, the network was
    /// divided: a new term and a whole census settle it. Otherwise it was stopped or replaced, unless
    /// no row says anything of it.
    fn unlisted(&mut self, shard: ShardId, node: NodeId, found: &Hosted) {
        let id = &found.spec.id;
        if self.end_if_over(shard, id, node, found.epoch) {
            return;
        }
        if !self.settings.guarantees.exclusive {
            self.reclaim(shard);
            return;
        }
        if found.ready && self.rows.get(id).is_none() {
            // All who knew it were held for dead, and this one is back (H9): its end would be known.
            let host = listed(node, found);
            self.publish(shard, Change::Put(Row::new(found.spec.clone(), &[host])));
            self.sweep.insert(shard);
            return;
        }
        self.end_copy(shard, id, node, found.epoch);
    }
}
