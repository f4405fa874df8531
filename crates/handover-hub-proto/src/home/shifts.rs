//! Where a home has its processes run while load is balanced.
//!
//! A new process runs where the last board says, and stays there. It moves when the board has some
//! shifted away from its node, when its node takes no processes any more, or when somebody moves it.

use alloc::vec::Vec;

use crate::balance::{Board, Shift};
use crate::identity::{NodeId, ProcessId, ShardId};
use crate::node::Node;
use crate::placement::mix;
use crate::row::{Host, Role, Row, Rows};
use crate::spec::Placing;

impl<R: Rows> Node<R> {
    /// Where a child should run: the first by load, the others where they are, or where its shard
    /// would like to be next.
    pub(super) fn balanced(
        &self,
        shard: ShardId,
        process: &ProcessId,
        alive: &[Host],
        placed: Option<NodeId>,
    ) -> Vec<(NodeId, Role)> {
        let serves = |node: &NodeId| self.members.serves(*node);
        let sent = || {
            let home = self.homes.get(&shard)?;
            home.sent.get(process).copied().filter(serves)
        };
        let sent = placed.or_else(sent);
        let stays = |host: &&Host| serves(&host.node);
        let active = alive.iter().filter(stays).find(|h| h.role == Role::Active);
        // Whoever has all that was acknowledged takes over, if there is any.
        let filled = || alive.iter().filter(stays).find(|host| host.filled);
        let runs = active.or_else(filled).or_else(|| alive.iter().find(stays));
        let refuge = || self.refuge(alive.first()?.node, process);
        let named = self.table.wanted(shard);
        let first = sent
            .or(runs.map(|host| host.node))
            .or_else(refuge)
            .or_else(|| self.least_busy(process))
            .or(named.filter(serves));
        let Some(first) = first else {
            return self.somewhere(named, alive);
        };
        let mut nodes = Vec::from([first]);
        if self.replicas() > 1 {
            // The one it is sent away from runs it only if there are no others.
            let left = sent.and(active).map(|host| host.node);
            let many = self.table.hosts(shard).iter().map(|(node, _)| *node);
            let others = alive.iter().map(|host| host.node).chain(many);
            let others = others.filter(|node| serves(node) && Some(*node) != left);
            for node in others.chain(left) {
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        self.settings.redundancy.roles(&nodes)
    }

    /// Keeps in mind where a process is going: by the next board it might be somewhere else.
    pub(super) fn send(&mut self, shard: ShardId, process: &ProcessId, to: NodeId) {
        if self.loads.balances()
            && let Some(home) = self.homes.get_mut(&shard)
        {
            home.sent.insert(process.clone(), to);
        }
    }

    /// Moves this home's part of what a board has moved.
    pub(crate) fn shift(&mut self, board: &Board) {
        let now = self.now;
        let Some(rest) = self.loads.balancer().map(crate::balance::Balancer::rest) else {
            return;
        };
        if self.settling || self.is_still() {
            return;
        }
        for home in self.homes.values_mut() {
            home.rested.retain(|_, until| *until > now);
        }
        for shift in &board.shifts {
            for (shard, process) in self.part(shift, board.round) {
                self.send(shard, &process, shift.to);
                if let Some(home) = self.homes.get_mut(&shard) {
                    home.rested.insert(process.clone(), now + rest);
                }
                self.want_move(shard, &process, shift.from, shift.to);
            }
        }
    }

    /// Which processes of this node's shards move, drawn by the round.
    fn part(&self, shift: &Shift, round: u64) -> Vec<(ShardId, ProcessId)> {
        if !self.members.has(shift.from) || !self.members.serves(shift.to) {
            return Vec::new();
        }
        let (mut mine, mut may) = (0, Vec::new());
        for shard in self.homes.keys().copied().filter(|s| self.decides(*s)) {
            for row in self.rows.shard(shard) {
                if row.active().is_some_and(|host| host.node == shift.from) {
                    mine += 1;
                    if self.may_shift(shard, &row, shift.to) {
                        let hash = xxhash_rust::xxh3::xxh3_64(row.id().as_str().as_bytes());
                        may.push((mix(hash ^ round), shard, row.id().clone()));
                    }
                }
            }
        }
        may.sort_unstable();
        let part = usize::try_from(shift.part(mine, self.me.id, round));
        may.truncate(part.unwrap_or(usize::MAX));
        may.into_iter().map(|(_, shard, id)| (shard, id)).collect()
    }

    fn may_shift(&self, shard: ShardId, row: &Row, to: NodeId) -> bool {
        let id = row.id();
        let rests = self.homes.get(&shard).is_none_or(|home| {
            home.rested.contains_key(id)
                || home.later.contains_key(id)
                || home.placed.contains_key(id)
        });
        !rests
            && !self.is_busy(shard, id)
            && row.hosts().iter().all(|host| host.node != to)
            && !matches!(row.spec().placing, Placing::Pinned(_))
    }
}
