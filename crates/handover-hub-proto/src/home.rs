//! What the home of a shard does: it takes a census, keeps the rows, grants epochs, and decides who
//! runs what.

mod asked;
mod census;
mod ended;
mod grant;
mod moves;
mod recount;
mod resolve;
mod review;
mod shifts;
mod strays;
mod turns;
mod work;

pub(crate) use self::census::Census;
pub(crate) use self::moves::host_at;
pub(crate) use self::work::{Asker, Doing, Pending, Stopping, Work};

use alloc::collections::BTreeMap;
use alloc::collections::btree_set::BTreeSet;
use alloc::vec::Vec;

use handover_proto::moment::Moment;

use crate::identity::{Epoch, NodeId, ProcessId, ShardId, Term};
use crate::message::{Change, Item, Position, Told};
use crate::migration::Deferral;
use crate::node::Node;
use crate::row::{Host, Rows};

/// An answer that waits until enough others hold the rows it speaks of.
pub(crate) struct Waiter {
    pub(crate) asker: Asker,
    pub(crate) process: ProcessId,
    pub(crate) told: Told,
}

/// A process that is not asked to move before a time.
pub(crate) struct Later {
    pub(crate) at: Moment,
    /// By its own wish, and since when.
    pub(crate) deferral: Option<Deferral>,
}

/// How far a home is.
pub(crate) enum Stage {
    /// It asks who runs what, and grants nothing.
    Census(Census),
    /// It decides.
    Live,
}

/// A shard that this node is the home of.
pub(crate) struct Home {
    pub(crate) term: Term,
    pub(crate) stage: Stage,
    /// Changes of rows under this term.
    sequence: u64,
    /// Epochs granted under this term.
    grants: u64,
    /// How far the copies of others are, under this term.
    held: BTreeMap<NodeId, u64>,
    waiting: BTreeMap<u64, Vec<Waiter>>,
    /// What is being done to a process; one thing at a time.
    pub(crate) work: BTreeMap<ProcessId, Work>,
    /// Where processes were moved by hand; until the members change.
    pub(crate) placed: BTreeMap<ProcessId, NodeId>,
    /// Where the balancer sends processes, until they are there or the members change.
    pub(crate) sent: BTreeMap<ProcessId, NodeId>,
    /// Processes that the balancer shifted, and until when it leaves them alone.
    pub(crate) rested: BTreeMap<ProcessId, Moment>,
    /// Processes that are not asked to move before a time.
    pub(crate) later: BTreeMap<ProcessId, Later>,
    /// Copies of a process that ran apart from the one that was kept, to be merged one by one.
    pub(crate) apart: BTreeMap<ProcessId, Vec<Host>>,
    /// Processes whose copies are merged not before a time: it failed.
    pub(crate) merges: BTreeMap<ProcessId, Moment>,
    /// Copies that froze for a merge of an earlier home, and go on so that it can begin again.
    pub(crate) unmerged: BTreeSet<(ProcessId, NodeId)>,
    /// Nodes whose processes are counted again, since their connection broke or they joined.
    pub(crate) recount: BTreeSet<NodeId>,
}

impl Home {
    pub(crate) fn new(term: Term, census: Census) -> Self {
        Self {
            term,
            stage: Stage::Census(census),
            sequence: 0,
            grants: 0,
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            work: BTreeMap::new(),
            placed: BTreeMap::new(),
            sent: BTreeMap::new(),
            rested: BTreeMap::new(),
            later: BTreeMap::new(),
            apart: BTreeMap::new(),
            merges: BTreeMap::new(),
            unmerged: BTreeSet::new(),
            recount: BTreeSet::new(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live)
    }

    /// It decides, and does nothing of its own accord: what somebody asked for may be going on.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_live() && self.work.values().all(|work| !work.askers.is_empty())
    }

    /// What a successor on the same host must know: the term, and what was granted.
    pub(crate) fn granted(&self) -> (Term, u64) {
        (self.term, self.grants)
    }

    /// It goes on where its predecessor stopped.
    pub(crate) fn went_on(&mut self, sequence: u64, grants: u64) {
        (self.sequence, self.grants) = (sequence, grants);
    }

    /// The next epoch. No two grants of one home are alike (H1).
    pub(crate) fn epoch(&mut self) -> Epoch {
        self.grants += 1;
        Epoch {
            term: self.term,
            grant: self.grants,
        }
    }

    /// The first of so many epochs that nobody else is given.
    pub(crate) fn epochs(&mut self, count: u64) -> Epoch {
        let epoch = self.epoch();
        self.grants += count - 1;
        epoch
    }

    /// Whose rows a census found ahead of this node's.
    pub(crate) fn source(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::Census(census) => census.source(),
            Stage::Live => None,
        }
    }

    /// The highest change that `enough` others hold.
    fn safe(&self, others: &[NodeId], enough: usize) -> u64 {
        if enough == 0 {
            return self.sequence;
        }
        let mut held: Vec<u64> = others
            .iter()
            .filter_map(|node| self.held.get(node).copied())
            .collect();
        held.sort_unstable_by(|a, b| b.cmp(a));
        held.get(enough - 1).copied().unwrap_or(0)
    }
}

impl<R: Rows> Node<R> {
    /// Changes a row as its home: here, and at all others.
    pub(crate) fn publish(&mut self, shard: ShardId, change: Change) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        home.sequence += 1;
        let position = Position {
            term: home.term,
            home: self.me.id,
            sequence: home.sequence,
        };
        self.copies.set(shard, position);
        for node in self.members.others(self.me.id) {
            let item = Item::Changed {
                shard,
                position,
                change: change.clone(),
            };
            self.outbox.say(node, item);
        }
        self.apply(change);
    }

    /// Answers once enough others hold the rows as they are now (H9).
    pub(crate) fn tell_when_held(
        &mut self,
        shard: ShardId,
        asker: Asker,
        process: ProcessId,
        told: Told,
    ) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        let waiter = Waiter {
            asker,
            process,
            told,
        };
        home.waiting.entry(home.sequence).or_default().push(waiter);
        self.release(shard);
    }

    /// Sends the answers whose rows enough others hold.
    pub(crate) fn release(&mut self, shard: ShardId) {
        let others = self.members.others(self.me.id);
        let enough = self.settings.copies.min(others.len());
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        if home.waiting.is_empty() || !home.is_live() {
            return;
        }
        // What nobody changed under this term is held by whoever says it holds the beginning.
        let holders = others.iter().filter(|node| home.held.contains_key(node));
        if holders.count() < enough {
            return;
        }
        let safe = home.safe(&others, enough);
        let later = home.waiting.split_off(&(safe + 1));
        let ready = core::mem::replace(&mut home.waiting, later);
        for waiter in ready.into_values().flatten() {
            self.tell(waiter.asker, waiter.process, waiter.told);
        }
    }

    /// Another node holds the rows up to a change.
    pub(crate) fn heard_held(&mut self, from: NodeId, shard: ShardId, position: Position) {
        let Some(home) = self.homes.get_mut(&shard) else {
            return;
        };
        if (position.term, position.home) != (home.term, self.me.id) {
            return;
        }
        let held = home.held.entry(from).or_default();
        *held = (*held).max(position.sequence);
        self.release(shard);
    }

    /// Answers whoever asked.
    pub(crate) fn tell(&mut self, asker: Asker, process: ProcessId, told: Told) {
        let item = Item::Told {
            request: asker.request,
            process,
            told,
        };
        self.outbox.say(asker.node, item);
    }
}
