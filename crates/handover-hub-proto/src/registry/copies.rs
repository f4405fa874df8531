//! How far this node's copy of each shard's rows has come, and how it catches up.
//!
//! The rows themselves are with the driver. A home numbers its changes; who misses one, or hears of
//! a newer term whose beginning it does not know, asks for the whole shard.

use alloc::collections::btree_set::BTreeSet;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use handover_proto::moment::Moment;

use crate::identity::{NodeId, ShardId};
use crate::message::Position;
use crate::row::Row;

/// Most shards that are fetched at once: a node that joins takes the registry in at a pace that
/// keeps both sides' queues short.
pub(crate) const FETCHED_AT_ONCE: usize = 64;

/// A shard that is being fetched.
struct Fetch {
    from: NodeId,
    asked: Moment,
    rows: Vec<Row>,
}

/// What to do with a change that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Apply,
    /// It is known already.
    Known,
    /// Something before it is missing.
    Behind,
}

/// Positions of all shards.
pub(crate) struct Copies {
    at: Vec<Position>,
    fetching: BTreeMap<ShardId, Fetch>,
    behind: VecDeque<ShardId>,
    queued: BTreeSet<ShardId>,
    /// How far somebody said to be, of shards that are being fetched or wait for it.
    wanted: BTreeMap<ShardId, Position>,
}

impl Copies {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            at: alloc::vec![Position::default(); usize::from(shards.max(1))],
            fetching: BTreeMap::new(),
            behind: VecDeque::new(),
            queued: BTreeSet::new(),
            wanted: BTreeMap::new(),
        }
    }

    pub(crate) fn position(&self, shard: ShardId) -> Position {
        let at = self.at.get(usize::from(shard.0));
        at.copied().unwrap_or_default()
    }

    pub(crate) fn set(&mut self, shard: ShardId, position: Position) {
        if let Some(at) = self.at.get_mut(usize::from(shard.0)) {
            *at = position;
        }
    }

    /// Judges a change that leads to `position`.
    pub(crate) fn judge(&mut self, shard: ShardId, position: Position) -> Verdict {
        let at = self.position(shard);
        if position <= at {
            return Verdict::Known;
        }
        let same_home = (position.term, position.home) == (at.term, at.home);
        if same_home && position.sequence == at.sequence + 1 {
            self.set(shard, position);
            return Verdict::Apply;
        }
        Verdict::Behind
    }

    /// Notes that somebody is ahead, so that a shard must be fetched.
    pub(crate) fn miss(&mut self, shard: ShardId, ahead: Position) {
        let wanted = self.wanted.entry(shard).or_default();
        *wanted = ahead.max(*wanted);
        self.queue(shard);
    }

    fn queue(&mut self, shard: ShardId) {
        if !self.fetching.contains_key(&shard) && self.queued.insert(shard) {
            self.behind.push_back(shard);
        }
    }

    /// The next shard to ask for, if not too many are asked for already.
    pub(crate) fn next(&mut self) -> Option<ShardId> {
        if self.fetching.len() >= FETCHED_AT_ONCE {
            return None;
        }
        let shard = self.behind.pop_front()?;
        self.queued.remove(&shard);
        Some(shard)
    }

    /// How far it is said to be.
    pub(crate) fn wanted(&self, shard: ShardId) -> Option<Position> {
        self.wanted.get(&shard).copied()
    }

    /// A shard was fetched from a node, or there is nobody to fetch it from. What was heard of
    /// meanwhile is fetched from whom it was heard of, if `has` that one.
    pub(crate) fn fetched(
        &mut self,
        shard: ShardId,
        from: Option<NodeId>,
        has: impl Fn(NodeId) -> bool,
    ) {
        let Some(wanted) = self.wanted.remove(&shard) else {
            return;
        };
        let elsewhere = from.is_some_and(|from| from != wanted.home);
        if self.position(shard) < wanted && elsewhere && has(wanted.home) {
            self.miss(shard, wanted);
        }
    }

    /// A shard was asked for.
    pub(crate) fn fetch(&mut self, shard: ShardId, from: NodeId, now: Moment) {
        let fetch = Fetch {
            from,
            asked: now,
            rows: Vec::new(),
        };
        self.fetching.insert(shard, fetch);
    }

    /// Whether a shard is being fetched or waits for it.
    pub(crate) fn is_missing(&self, shard: ShardId) -> bool {
        self.fetching.contains_key(&shard) || self.queued.contains(&shard)
    }

    /// A part of a shard came. The whole of it with the last part, if it was asked for there.
    pub(crate) fn part(
        &mut self,
        shard: ShardId,
        from: NodeId,
        rows: Vec<Row>,
        last: bool,
    ) -> Option<Vec<Row>> {
        let fetch = self.fetching.get_mut(&shard)?;
        if fetch.from != from {
            return None;
        }
        fetch.rows.extend(rows);
        if !last {
            return None;
        }
        self.fetching.remove(&shard).map(|fetch| fetch.rows)
    }

    /// Gives up what was asked before, or of, what `stale` says; it is queued again.
    pub(crate) fn again(&mut self, stale: impl Fn(NodeId, Moment) -> bool) {
        let shards: Vec<ShardId> = self
            .fetching
            .iter()
            .filter(|(_, fetch)| stale(fetch.from, fetch.asked))
            .map(|(shard, _)| *shard)
            .collect();
        for shard in shards {
            self.fetching.remove(&shard);
            self.queue(shard);
        }
    }

    /// Something is being fetched.
    pub(crate) fn busy(&self) -> bool {
        !self.fetching.is_empty() || !self.behind.is_empty()
    }
}
