//! The list of declared children: those that run as long as they are on it, whatever happens.
//!
//! The leader counts its versions, every node keeps the newest. Each home starts those of its
//! shards that nobody runs, and stops those that were declared and are no longer. A long list goes in
//! parts and is used when all of them are there; who missed one hears of the version with the next
//! digests, and asks.

mod parts;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use self::parts::Parts;
use super::{Answer, Failure, Node};
use crate::home::Asker;
use crate::identity::{NodeId, ProcessId, RequestId, ShardId};
use crate::message::{Item, Part};
use crate::placement::Distribution;
use crate::row::Rows;
use crate::spec::{ChildSpec, Placing};

/// How long the leader may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most children on the list: every node keeps all of it.
pub(crate) const DECLARED_MAX: usize = 1_000_000;

/// A version of the list.
#[derive(Default)]
pub(crate) struct Declared {
    pub(crate) version: u64,
    shards: BTreeMap<ShardId, BTreeMap<ProcessId, Arc<ChildSpec>>>,
    /// Lists that are on their way here, by sender: one of each at most.
    parts: BTreeMap<NodeId, Parts>,
}

impl Declared {
    fn of(&self, shard: ShardId) -> impl Iterator<Item = &Arc<ChildSpec>> {
        self.shards
            .get(&shard)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    fn has(&self, shard: ShardId, process: &ProcessId) -> bool {
        let shard = self.shards.get(&shard);
        shard.is_some_and(|shard| shard.contains_key(process))
    }

    fn list(&self) -> Vec<Arc<ChildSpec>> {
        let all = self.shards.values().flat_map(BTreeMap::values);
        all.cloned().collect()
    }
}

impl<R: Rows> Node<R> {
    /// The list of declared children and its version, to be kept where it outlives all nodes; 0 if
    /// nobody declared any.
    #[must_use]
    pub fn declared(&self) -> (u64, Vec<Arc<ChildSpec>>) {
        (self.declared.version, self.declared.list())
    }

    /// Takes a list that was kept. Changes nothing if this node knows a newer one.
    pub fn declare_kept(&mut self, version: u64, children: Vec<Arc<ChildSpec>>) {
        self.take_declared(version, children);
    }

    pub(crate) fn command_declare(&mut self, request: RequestId, children: Vec<Arc<ChildSpec>>) {
        let Some(leader) = self.members.leader() else {
            self.answer(request, Answer::Failed(Failure::Nowhere));
            return;
        };
        let found = children.len();
        if found > DECLARED_MAX {
            let limit = DECLARED_MAX;
            self.answer(request, Answer::Failed(Failure::TooMany { limit, found }));
            return;
        }
        let request = self.pass(request, leader, PATIENCE);
        if parts::fits(&children) {
            self.outbox.say(leader, Item::Declare { request, children });
            return;
        }
        for part in parts::split(children) {
            self.outbox.say(leader, Item::DeclarePart { request, part });
        }
    }

    /// A part of a list that somebody declares.
    pub(crate) fn heard_declare_part(&mut self, asker: Asker, part: Part) {
        if let Some(children) = self.assemble(asker.node, asker.request, part) {
            self.heard_declare(asker, children);
        }
    }

    /// A part of the list that the leader has.
    pub(crate) fn heard_declared_part(&mut self, from: NodeId, version: u64, part: Part) {
        if version > self.declared.version
            && let Some(children) = self.assemble(from, version, part)
        {
            self.take_declared(version, children);
        }
    }

    fn assemble(&mut self, from: NodeId, list: u64, part: Part) -> Option<Vec<Arc<ChildSpec>>> {
        let parts = self.declared.parts.entry(from).or_default();
        let whole = parts.take(list, part);
        if !parts.is_open() {
            self.declared.parts.remove(&from);
        }
        whole
    }

    /// What of a list was on its way from a node will not come any more.
    pub(crate) fn declares_no_more(&mut self, node: NodeId) {
        self.declared.parts.remove(&node);
    }

    /// Tells all others which version there is, if this node is the leader.
    pub(crate) fn say_declares(&mut self) {
        let version = self.declared.version;
        if version > 0 && self.members.leader() == Some(self.me.id) {
            for node in self.members.others(self.me.id) {
                self.outbox.say(node, Item::Declares { version });
            }
        }
    }

    /// The leader's version: one of the two may have missed the other's.
    pub(crate) fn heard_declares(&mut self, from: NodeId, version: u64) {
        if version > self.declared.version {
            self.outbox.say(from, Item::FetchDeclared);
        } else if version < self.declared.version {
            self.say_declared(from);
        }
    }

    pub(crate) fn heard_declare(&mut self, asker: Asker, children: Vec<Arc<ChildSpec>>) {
        let request = asker.request;
        let guided = self.settings.distribution == Distribution::Guided;
        let unguided = guided
            && children
                .iter()
                .any(|spec| spec.placing == Placing::Strategy);
        let answer = if unguided {
            Answer::Failed(Failure::Unguided)
        } else if self.members.leader() == Some(self.me.id) {
            let version = self.declared.version + 1;
            self.take_declared(version, children);
            for node in self.members.others(self.me.id) {
                self.say_declared(node);
            }
            Answer::Done
        } else {
            Answer::Failed(Failure::Gone)
        };
        self.outbox
            .say(asker.node, Item::Answered { request, answer });
    }

    /// Tells a node the list, if there is one.
    pub(crate) fn say_declared(&mut self, to: NodeId) {
        let (version, children) = self.declared();
        if version == 0 {
            return;
        }
        if parts::fits(&children) {
            self.outbox.say(to, Item::Declared { version, children });
            return;
        }
        for part in parts::split(children) {
            self.outbox.say(to, Item::DeclaredPart { version, part });
        }
    }

    pub(crate) fn take_declared(&mut self, version: u64, children: Vec<Arc<ChildSpec>>) {
        if version <= self.declared.version {
            return;
        }
        let mut shards: BTreeMap<ShardId, BTreeMap<ProcessId, Arc<ChildSpec>>> = BTreeMap::new();
        for mut spec in children {
            Arc::make_mut(&mut spec).declared = true;
            let shard = shards.entry(self.shard_of(&spec.id)).or_default();
            shard.insert(spec.id.clone(), spec);
        }
        (self.declared.version, self.declared.shards) = (version, shards);
        self.review_all();
    }

    /// Sees to the declared children of a shard.
    pub(crate) fn review_declared(&mut self, shard: ShardId) {
        if self.declared.version == 0 {
            return;
        }
        for row in self.rows.shard(shard) {
            let over = row.spec().declared && !self.declared.has(shard, row.id());
            if over && !self.is_busy(shard, row.id()) {
                self.stop(shard, &row, None);
            }
        }
        let lacking = |spec: &&Arc<ChildSpec>| {
            self.rows.get(&spec.id).is_none() && !self.is_busy(shard, &spec.id)
        };
        let lacking: Vec<_> = self.declared.of(shard).filter(lacking).cloned().collect();
        for spec in lacking {
            let on = self.wanted(shard, &spec, &[]);
            if !on.is_empty() {
                let on: Vec<_> = on
                    .into_iter()
                    .map(|(node, role)| (node, role, false))
                    .collect();
                self.start(shard, spec, Vec::new(), &on, None);
            }
        }
    }

    /// Those that ended by themselves are started again in time.
    pub(crate) fn review_all_declared(&mut self) {
        let shards: Vec<ShardId> = self.declared.shards.keys().copied().collect();
        self.sweep.extend(shards);
    }
}
