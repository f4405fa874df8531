//! A home looks whether every child of a shard runs where it should, and sees to it if not (H8, H9).
//!
//! Whatever may have changed that only puts the shard on the list; a few shards are looked at each
//! time the node is called, so that nothing takes long.

use alloc::vec::Vec;

use crate::identity::{NodeId, ProcessId, ShardId};
use crate::message::Change;
use crate::node::{Node, Timer};
use crate::row::{Host, Role, Row, Rows};
use crate::spec::{ChildSpec, Placing};

/// Shards that are looked at in one go.
const SHARDS_AT_ONCE: usize = 4;

impl<R: Rows> Node<R> {
    /// Looks at the next few shards on the list.
    pub(crate) fn review_some(&mut self) {
        if self.is_still() {
            return;
        }
        for _ in 0..SHARDS_AT_ONCE {
            let Some(shard) = self.sweep.pop_first() else {
                return;
            };
            if self.decides(shard) {
                self.review(shard);
            }
        }
    }

    fn review(&mut self, shard: ShardId) {
        if self.settling {
            // Looked at again when the members have settled.
            return;
        }
        let mut rows = self.rows.shard(shard);
        rows.sort_by(|a, b| a.id().cmp(b.id()));
        for row in rows {
            if !self.is_busy(shard, row.id()) {
                self.review_row(shard, &row);
            }
        }
    }

    fn review_row(&mut self, shard: ShardId, row: &Row) {
        let alive: Vec<Host> = row
            .hosts()
            .iter()
            .copied()
            .filter(|host| self.members.has(host.node))
            .collect();
        let wanted = self.wanted(shard, row.spec(), &alive);
        let lacking: Vec<(NodeId, Role)> = wanted
            .iter()
            .copied()
            .filter(|(node, _)| !alive.iter().any(|host| host.node == *node))
            .collect();
        if alive.is_empty() {
            if lacking.is_empty() {
                if !row.hosts().is_empty() {
                    let change = Change::Put(Row::new(row.spec().clone(), &[]));
                    self.publish(shard, change);
                }
                return;
            }
            let on: Vec<_> = lacking
                .into_iter()
                .map(|(node, role)| (node, role, false))
                .collect();
            self.start(shard, row.spec().clone(), Vec::new(), &on, None);
            return;
        }
        let misplaced = alive
            .iter()
            .find(|host| !wanted.iter().any(|(node, _)| *node == host.node));
        if let (Some(host), Some((to, _))) = (misplaced, lacking.first()) {
            self.want_move(shard, row.id(), host.node, *to);
        }
    }

    /// Where a child should run. Pinned: there, as far as those nodes are members.
    pub(crate) fn wanted(
        &self,
        shard: ShardId,
        spec: &ChildSpec,
        alive: &[Host],
    ) -> Vec<(NodeId, Role)> {
        if let Placing::Pinned(names) = &spec.placing {
            let nodes = names.iter().filter_map(|name| self.members.named(name));
            return nodes.map(|member| (member.id, Role::Active)).collect();
        }
        let placed = self
            .homes
            .get(&shard)
            .and_then(|home| home.placed.get(&spec.id).copied());
        if let Some(node) = placed.filter(|node| self.members.serves(*node)) {
            return alloc::vec![(node, Role::Active)];
        }
        let named = self.table.wanted(shard);
        if let Some(node) = named.filter(|node| self.members.serves(*node)) {
            return alloc::vec![(node, Role::Active)];
        }
        // Nobody takes processes, or the members have not settled: where it is, or any other.
        if let Some(host) = alive.first() {
            return alloc::vec![(host.node, host.role)];
        }
        let serving = self.members.ids().find(|node| self.members.serves(*node));
        let any = serving.or_else(|| named.filter(|node| self.members.has(*node)));
        any.map(|node| (node, Role::Active)).into_iter().collect()
    }

    /// All shards of this node are to be looked at.
    pub(crate) fn review_all(&mut self) {
        let live = self.homes.iter().filter(|(_, home)| home.is_live());
        self.sweep.extend(live.map(|(shard, _)| *shard));
    }

    /// A shard's children are to be looked at, now that a time is over.
    pub(crate) fn review_due(&mut self, timer: &Timer) {
        if let Timer::Review(shard) = timer {
            self.sweep.insert(*shard);
        }
    }

    /// Whether a process would still go there.
    pub(crate) fn still_wants(
        &self,
        shard: ShardId,
        id: &ProcessId,
        from: NodeId,
        to: NodeId,
    ) -> bool {
        let Some(row) = self.rows.get(id).filter(|_| self.decides(shard)) else {
            return false;
        };
        let runs = row.hosts().iter().any(|host| host.node == from);
        let wanted = self.wanted(shard, row.spec(), row.hosts());
        runs && self.members.has(from) && wanted.iter().any(|(node, _)| *node == to)
    }
}
