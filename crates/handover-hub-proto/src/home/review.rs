//! A home looks whether every child of a shard runs where it should, and sees to it if not (H8, H9).
//!
//! Whatever may have changed that only puts the shard on the list; a few shards are looked at each
//! time the node is called, so that nothing takes long.

use alloc::vec::Vec;

use crate::event::Event;
use crate::identity::{Epoch, NodeId, ProcessId, ShardId};
use crate::message::Change;
use crate::node::{Effect, Node, Timer};
use crate::redundancy;
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
        self.review_declared(shard);
        self.merge_again(shard);
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
        let wanted = self.wanted(shard, &row.spec(), &alive);
        let changes = redundancy::changes(&alive, &wanted);
        if alive.is_empty() {
            if !changes.start.is_empty() {
                self.report_lost(row, &changes.start);
                self.start_on(shard, row, Vec::new(), &changes.start);
            } else if !row.hosts().is_empty() {
                let change = Change::Put(row.with_hosts(&[]));
                self.publish(shard, change);
            }
            return;
        }
        if let Some(heir) = redundancy::heir(&alive, &wanted) {
            let rest = alive.into_iter().filter(|host| host.node != heir.node);
            let (rest, on) = (rest.collect(), [(heir.node, Role::Active, heir.filled)]);
            self.start(shard, row.spec().clone(), rest, &on, None);
            return;
        }
        // Its state goes with it: to where it should answer, if nobody runs it there.
        let active = alive
            .iter()
            .find(|host| host.role == Role::Active && !wanted.contains(&(host.node, Role::Active)))
            .copied();
        let lacking = changes.start.iter().find(|(_, role)| *role == Role::Active);
        // Whoever is to go stays until those that stay have all it has (H3).
        let surplus = |host: &Host| changes.stop.contains(&host.node);
        let filled = alive.iter().all(|host| host.filled || surplus(host));
        if let (Some(host), Some((to, _))) = (active, lacking) {
            self.send(shard, row.id(), *to);
            self.want_move(shard, row.id(), host.node, *to);
        } else if !changes.start.is_empty() {
            self.start_on(shard, row, alive, &changes.start);
        } else if let Some(host) = active.filter(|_| changes.promotes() && filled) {
            self.step_down(shard, row, alive, host.node);
        } else if alive.len() > wanted.len() && !wanted.is_empty() && filled {
            self.end_surplus(shard, row, alive, &changes.stop);
        } else if alive.len() < row.hosts().len() {
            self.publish(shard, Change::Put(row.with_hosts(&alive)));
        }
    }

    /// All replicas of a child that were to keep its state are gone.
    fn report_lost(&mut self, row: &Row, on: &[(NodeId, Role)]) {
        let active = on.iter().find(|(_, role)| *role == Role::Active);
        if let Some((node, _)) = active
            && self.settings.redundancy.keeps_state()
            && !row.hosts().is_empty()
        {
            let (process, node) = (row.id().clone(), *node);
            self.effects
                .push_back(Effect::Report(Event::Lost { process, node }));
        }
    }

    /// A host says whether a replica is filled.
    pub(super) fn count_filled(&mut self, shard: ShardId, row: &Row, host: Host, filled: bool) {
        if host.filled != filled {
            let hosts = row.hosts().iter().map(|known| Host {
                filled: if known.node == host.node {
                    filled
                } else {
                    known.filled
                },
                ..*known
            });
            let hosts: Vec<Host> = hosts.collect();
            self.publish(shard, Change::Put(row.with_hosts(&hosts)));
            self.sweep.insert(shard);
        }
    }

    /// A replica has the state of the active one: it may take over from now on.
    pub(crate) fn heard_filled(&mut self, from: NodeId, process: &ProcessId, epoch: Epoch) {
        let shard = self.shard_of(process);
        if !self.decides(shard) {
            // Said again to the next home.
            return;
        }
        let fill = |hosts: &mut [Host]| {
            let is_it = |host: &&mut Host| (host.node, host.epoch) == (from, epoch);
            let found = hosts.iter_mut().find(is_it);
            found.is_some_and(|host| !core::mem::replace(&mut host.filled, true))
        };
        if let Some(starting) = self.starting(shard, process) {
            fill(&mut starting.hosts);
        }
        let Some(row) = self.rows.get(process) else {
            return;
        };
        let mut hosts = row.hosts().to_vec();
        if fill(&mut hosts) {
            self.publish(shard, Change::Put(row.with_hosts(&hosts)));
            self.sweep.insert(shard);
        }
    }

    /// The active replica becomes a passive one, so that a passive one that has its state can become
    /// the active one: at no moment two of them answer (H2), nor is there one copy less.
    fn step_down(&mut self, shard: ShardId, row: &Row, alive: Vec<Host>, node: NodeId) {
        let home = self.table.wanted(shard);
        if home.is_some_and(|home| home != self.me.id && self.members.has(home)) {
            // The home that it is about to have sees to it.
            return;
        }
        let rest: Vec<Host> = alive.into_iter().filter(|h| h.node != node).collect();
        let on = [(node, Role::Passive, false)];
        self.start(shard, row.spec().clone(), rest, &on, None);
    }

    fn start_on(&mut self, shard: ShardId, row: &Row, hosts: Vec<Host>, on: &[(NodeId, Role)]) {
        let on: Vec<(NodeId, Role, bool)> = on.iter().map(|(n, role)| (*n, *role, false)).collect();
        self.start(shard, row.spec().clone(), hosts, &on, None);
    }

    /// Ends replicas that are too many.
    fn end_surplus(&mut self, shard: ShardId, row: &Row, alive: Vec<Host>, surplus: &[NodeId]) {
        let (ending, rest): (Vec<Host>, Vec<Host>) = alive
            .into_iter()
            .partition(|host| surplus.contains(&host.node));
        if ending.is_empty() || !rest.iter().any(|host| host.role == Role::Active) {
            return;
        }
        for host in ending {
            self.end_copy(shard, row.id(), host.node, host.epoch);
        }
        self.publish(shard, Change::Put(row.with_hosts(&rest)));
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
            let nodes: Vec<NodeId> = nodes.map(|member| member.id).collect();
            return self.settings.redundancy.roles(&nodes);
        }
        let placed = self
            .homes
            .get(&shard)
            .and_then(|home| home.placed.get(&spec.id).copied());
        let placed = placed.filter(|node| self.members.serves(*node));
        if self.loads.balances() {
            return self.balanced(shard, &spec.id, alive, placed);
        }
        let many = self.table.hosts(shard);
        if many.len() > 1 {
            let others = many.iter().map(|(node, _)| *node);
            let others = others.filter(|node| self.members.serves(*node) && placed != Some(*node));
            let nodes: Vec<NodeId> = placed.into_iter().chain(others).collect();
            return self.settings.redundancy.roles(&nodes);
        }
        if let Some(node) = placed {
            return alloc::vec![(node, Role::Active)];
        }
        let refuge = alive
            .first()
            .and_then(|host| self.refuge(host.node, &spec.id));
        if let Some(node) = refuge {
            return alloc::vec![(node, Role::Active)];
        }
        let named = self.table.wanted(shard);
        if let Some(node) = named.filter(|node| self.members.serves(*node)) {
            return alloc::vec![(node, Role::Active)];
        }
        self.somewhere(named, alive)
    }

    /// Where a child runs while nobody takes processes, or the members have not settled: where it
    /// is, or on any other.
    pub(super) fn somewhere(&self, named: Option<NodeId>, alive: &[Host]) -> Vec<(NodeId, Role)> {
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
        let wanted = self.wanted(shard, &row.spec(), row.hosts());
        runs && self.members.has(from) && wanted.iter().any(|(node, _)| *node == to)
    }
}
