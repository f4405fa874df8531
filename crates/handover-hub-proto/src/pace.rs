//! How many moves a home has under way: so many from one node to another at once, so many a second
//! from a node that is evacuated.

use alloc::collections::BTreeMap;
use alloc::collections::btree_set::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Moment;

use crate::identity::{NodeId, ProcessId, ShardId};

/// Moves that are begun in one go, so that no input takes long.
const BEGUN_AT_ONCE: usize = 64;

/// A rate is allowed to catch up with no more than this time.
const BURST: Duration = Duration::from_millis(100);

/// So many a second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: u32,
    /// Until when moves have been given out.
    spent: Moment,
}

impl Bucket {
    fn take(&mut self, now: Moment) -> Result<(), Moment> {
        if self.spent > now {
            return Err(self.spent);
        }
        let earliest = now.as_nanos().saturating_sub(BURST.as_nanos() as u64);
        let from = self.spent.max(Moment::from_nanos(earliest));
        self.spent = from + Duration::from_secs(1) / self.rate.max(1);
        Ok(())
    }
}

/// From where to where.
type Way = (NodeId, NodeId);

/// Moves that are wanted and moves under way.
pub(crate) struct Pace {
    at_once: u32,
    wanted: BTreeMap<Way, BTreeSet<(ShardId, ProcessId)>>,
    under_way: BTreeMap<Way, u32>,
    all: Option<Bucket>,
    from: BTreeMap<NodeId, Bucket>,
}

/// A move that may begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) shard: ShardId,
    pub(crate) process: ProcessId,
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
}

impl Pace {
    pub(crate) fn new(at_once: u32, rate: Option<u32>) -> Self {
        Self {
            at_once: at_once.max(1),
            wanted: BTreeMap::new(),
            under_way: BTreeMap::new(),
            all: rate.map(|rate| Bucket {
                rate,
                spent: Moment::ZERO,
            }),
            from: BTreeMap::new(),
        }
    }

    /// Limits what goes away from a node, or no longer.
    pub(crate) fn limit(&mut self, from: NodeId, rate: Option<u32>) {
        match rate {
            Some(rate) => {
                let spent = Moment::ZERO;
                self.from.insert(from, Bucket { rate, spent });
            }
            None => {
                self.from.remove(&from);
            }
        }
    }

    pub(crate) fn want(&mut self, shard: ShardId, process: &ProcessId, way: Way) {
        let waiting = self.wanted.entry(way).or_default();
        waiting.insert((shard, process.clone()));
    }

    /// Nothing that was wanted before is wanted any more.
    pub(crate) fn forget(&mut self) {
        self.wanted.clear();
    }

    /// No move is wanted, and none under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.under_way() == 0
    }

    /// The moves that may begin now, and when to ask again. They count as under way.
    pub(crate) fn next(&mut self, now: Moment) -> (Vec<Next>, Option<Moment>) {
        let mut found = Vec::new();
        let mut again: Option<Moment> = None;
        let later = |again: &mut Option<Moment>, at: Moment| {
            *again = Some(again.map_or(at, |before| before.min(at)));
        };
        for (&(from, to), waiting) in &mut self.wanted {
            let under_way = self.under_way.entry((from, to)).or_default();
            while *under_way < self.at_once {
                if waiting.is_empty() {
                    break;
                }
                if found.len() >= BEGUN_AT_ONCE {
                    later(&mut again, now);
                    break;
                }
                let buckets = [self.all.as_mut(), self.from.get_mut(&from)];
                let full = buckets
                    .into_iter()
                    .flatten()
                    .find_map(|b| b.take(now).err());
                if let Some(at) = full {
                    later(&mut again, at);
                    break;
                }
                let Some((shard, process)) = waiting.pop_first() else {
                    break;
                };
                *under_way += 1;
                found.push(Next {
                    shard,
                    process,
                    from,
                    to,
                });
            }
        }
        self.wanted.retain(|_, waiting| !waiting.is_empty());
        (found, again)
    }

    /// A move has begun that nobody paced.
    pub(crate) fn begun(&mut self, way: Way) {
        *self.under_way.entry(way).or_default() += 1;
    }

    /// A move has ended.
    pub(crate) fn ended(&mut self, way: Way) {
        if let Some(under_way) = self.under_way.get_mut(&way) {
            *under_way = under_way.saturating_sub(1);
            if *under_way == 0 {
                self.under_way.remove(&way);
            }
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.values().map(|count| *count as usize).sum()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.wanted.values().map(BTreeSet::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> ProcessId {
        ProcessId::new(&alloc::format!("p{number}")).expect("an id")
    }

    const WAY: Way = (NodeId(1), NodeId(2));

    #[test]
    fn no_more_are_under_way_than_may_be_and_all_go_in_the_end() {
        let mut pace = Pace::new(10, None);
        for number in 0..25 {
            pace.want(ShardId(0), &id(number), WAY);
        }
        let (mut gone, mut ended) = (0, 0);
        while gone < 25 {
            gone += pace.next(Moment::ZERO).0.len();
            assert!(gone - ended <= 10);
            pace.ended(WAY);
            ended += 1;
        }
        assert_eq!(pace.waiting(), 0);
    }

    #[test]
    fn a_rate_lets_so_many_go_each_second() {
        let mut pace = Pace::new(1000, None);
        pace.limit(NodeId(1), Some(50));
        for number in 0..500 {
            pace.want(ShardId(0), &id(number), WAY);
        }
        let (mut now, mut gone) = (Moment::ZERO + Duration::from_secs(10), 0);
        let end = now + Duration::from_secs(2);
        while now < end {
            let (next, again) = pace.next(now);
            gone += next.len();
            now = again.expect("more are waiting").max(now);
        }
        assert!((95..=110).contains(&gone), "{gone} in two seconds");
        pace.limit(NodeId(1), None);
        assert_eq!(pace.next(now).0.len(), BEGUN_AT_ONCE);
    }
}
