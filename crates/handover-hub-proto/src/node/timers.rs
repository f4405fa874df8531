//! What happens later.

use alloc::collections::BTreeMap;
use alloc::collections::btree_set::BTreeSet;

use handover_proto::moment::Moment;

use crate::identity::{ProcessId, ShardId};

/// What a time is kept for. Each at most once; whoever is woken looks whether there is still
/// anything to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Members have settled.
    Debounce,
    /// Tell the others how far the rows of this node's shards are.
    Digest,
    /// Ask again what was not answered.
    Retry,
    /// Look at the children of a shard.
    Review(ShardId),
    /// A request's time is over.
    Request(u64),
    /// A move's next step.
    Move(ShardId, ProcessId),
    /// More moves may begin.
    Pace,
    /// A node that leaves does not wait any longer.
    Leave,
    /// Moves that this node takes part in: say again what was not answered.
    Terminal,
    /// The balancer looks at the loads.
    Board,
    /// Members that were asked for their moves have had their time.
    Flights,
}

/// Times and what they are kept for.
#[derive(Default)]
pub(crate) struct Timers {
    at: BTreeSet<(Moment, Timer)>,
    of: BTreeMap<Timer, Moment>,
}

impl Timers {
    /// Keeps a time, in place of an earlier one for the same.
    pub(crate) fn set(&mut self, timer: Timer, at: Moment) {
        if let Some(before) = self.of.insert(timer.clone(), at) {
            self.at.remove(&(before, timer.clone()));
        }
        self.at.insert((at, timer));
    }

    /// Keeps a time unless there is one.
    pub(crate) fn set_unless(&mut self, timer: Timer, at: Moment) {
        if !self.of.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    /// Keeps a time unless there is an earlier one.
    pub(crate) fn set_sooner(&mut self, timer: Timer, at: Moment) {
        if self.of.get(&timer).is_none_or(|before| *before > at) {
            self.set(timer, at);
        }
    }

    pub(crate) fn clear(&mut self, timer: &Timer) {
        if let Some(at) = self.of.remove(timer) {
            self.at.remove(&(at, timer.clone()));
        }
    }

    /// What is due.
    pub(crate) fn due(&mut self, now: Moment) -> Option<Timer> {
        let (at, timer) = self.at.first()?.clone();
        if at > now {
            return None;
        }
        self.at.remove(&(at, timer.clone()));
        self.of.remove(&timer);
        Some(timer)
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.at.first().map(|(at, _)| *at)
    }
}
