//! How many moves a home has under way: so many from one node to another at once, so many a second
//! from a node that is evacuated. Far fewer of them may depart at once: while a process stands still
//! it should wait for its own state, not for those of a thousand others.

use alloc::collections::btree_set::BTreeSet;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Moment;

use crate::identity::{NodeId, ProcessId, ShardId};
use crate::node::Moves;

/// Moves that are begun in one go, so that no input takes long.
const BEGUN_AT_ONCE: usize = 64;

/// Moves each way that are begun at first: some times as many as may depart at once. Each makes work
/// for nodes on which processes stand still.
const AHEAD: u32 = 64;

/// When none of them was ready for this long, though one could have departed, processes are slow to
/// prepare: then twice as many are begun.
const STARVED: Duration = Duration::from_millis(10);

/// A rate is allowed to catch up with no more than this time.
const BURST: Duration = Duration::from_millis(100);

/// A process that has not arrived this long after its turn takes its time for reasons of its own, a
/// message that it is at or a large state: the others wait no longer for it.
const TURN: Duration = Duration::from_millis(250);

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
    still: usize,
    /// Moves each way that are begun now, and since when so many.
    ahead: (u32, Moment),
    wanted: BTreeMap<Way, BTreeSet<(ShardId, ProcessId)>>,
    under_way: BTreeMap<Way, u32>,
    /// Moves whose targets are prepared and whose sources serve, in the order of their turns.
    ready: BTreeMap<Way, VecDeque<(ShardId, ProcessId)>>,
    /// When those had their turn that have not arrived, in order.
    departed: BTreeMap<Way, VecDeque<Moment>>,
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
    pub(crate) fn new(moves: &Moves) -> Self {
        Self {
            at_once: moves.at_once.max(1),
            ahead: (AHEAD, Moment::ZERO),
            still: usize::try_from(moves.still.max(1)).unwrap_or(usize::MAX),
            wanted: BTreeMap::new(),
            under_way: BTreeMap::new(),
            ready: BTreeMap::new(),
            departed: BTreeMap::new(),
            all: moves.rate.map(|rate| Bucket {
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
        self.look_ahead(now);
        let at_once = self.at_once.min(self.ahead.0);
        let mut found = Vec::new();
        let mut again: Option<Moment> = None;
        let later = |again: &mut Option<Moment>, at: Moment| {
            *again = Some(again.map_or(at, |before| before.min(at)));
        };
        for (&(from, to), waiting) in &mut self.wanted {
            let under_way = self.under_way.entry((from, to)).or_default();
            while *under_way < at_once {
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
        if let Some(at) = self.look_ahead(now) {
            later(&mut again, at);
        }
        (found, again)
    }

    /// A move waits for its turn to depart.
    pub(crate) fn ready(&mut self, shard: ShardId, process: &ProcessId, way: Way) {
        let waiting = self.ready.entry(way).or_default();
        waiting.push_back((shard, process.clone()));
    }

    /// The next move whose turn it is. It counts as departed from now on.
    pub(crate) fn turn(&mut self, now: Moment) -> Option<(ShardId, ProcessId, Way)> {
        for departed in self.departed.values_mut() {
            while departed.front().is_some_and(|at| *at + TURN <= now) {
                departed.pop_front();
            }
        }
        self.departed.retain(|_, departed| !departed.is_empty());
        let (departed, still) = (&self.departed, self.still);
        let room = |way: &Way| departed.get(way).is_none_or(|all| all.len() < still);
        let (&way, waiting) = self.ready.iter_mut().find(|(way, _)| room(way))?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.ready.remove(&way);
        }
        let (shard, process) = next?;
        self.departed.entry(way).or_default().push_back(now);
        Some((shard, process, way))
    }

    /// When to ask for turns again, unless something arrives before.
    pub(crate) fn next_turn(&self) -> Option<Moment> {
        let waiting = self.ready.keys();
        let oldest = waiting.filter_map(|way| self.departed.get(way)?.front());
        oldest.min().map(|at| *at + TURN)
    }

    /// What had its turn at that time has arrived, or goes nowhere.
    pub(crate) fn arrived(&mut self, way: Way, turn: Moment) {
        if let Some(departed) = self.departed.get_mut(&way)
            && let Ok(place) = departed.binary_search(&turn)
        {
            departed.remove(place);
        }
    }

    /// Begins more at once if too few are ready. Returns when to look again.
    fn look_ahead(&mut self, now: Moment) -> Option<Moment> {
        if self.under_way.is_empty() {
            self.ahead = (AHEAD, now);
        }
        let (ahead, since) = self.ahead;
        let starves = |way: &Way| {
            let departed = self.departed.get(way).map_or(0, VecDeque::len);
            let under_way = self.under_way.get(way).is_some_and(|count| *count >= ahead);
            under_way && departed < self.still && !self.ready.contains_key(way)
        };
        if ahead >= self.at_once || !self.wanted.keys().any(starves) {
            return None;
        }
        let due = since + STARVED;
        if now < due {
            return Some(due);
        }
        self.ahead = (ahead.saturating_mul(2), now);
        None
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

    fn moves(at_once: u32) -> Moves {
        Moves {
            at_once,
            still: 3,
            rate: None,
        }
    }

    #[test]
    fn few_depart_at_once_each_way_and_all_have_their_turn() {
        let (mut pace, now) = (Pace::new(&moves(10)), Moment::from_nanos(7));
        let other = (NodeId(3), NodeId(2));
        for number in 0..10 {
            pace.ready(ShardId(0), &id(number), WAY);
            pace.ready(ShardId(0), &id(number), other);
        }
        let (mut gone, mut departed) = (Vec::new(), BTreeMap::new());
        while gone.len() < 20 {
            while let Some((_, process, way)) = pace.turn(now) {
                *departed.entry(way).or_insert(0) += 1;
                gone.push((way, process));
            }
            assert!(departed.values().all(|count| *count <= 3), "{departed:?}");
            let (&way, count) = departed.iter_mut().find(|(_, n)| **n > 0).expect("one");
            *count -= 1;
            pace.arrived(way, now);
        }
        let of = |way| {
            gone.iter()
                .filter(move |(w, _)| *w == way)
                .map(|(_, id)| id)
        };
        let all: Vec<ProcessId> = (0..10).map(id).collect();
        assert!(of(WAY).eq(&all) && of(other).eq(&all), "{gone:?}");
    }

    #[test]
    fn more_are_begun_while_those_that_were_are_slow_to_prepare() {
        let (mut pace, mut now) = (Pace::new(&moves(300)), Moment::from_nanos(7));
        for number in 0..500 {
            pace.want(ShardId(0), &id(number), WAY);
        }
        let mut begun = Vec::new();
        loop {
            let (next, again) = pace.next(now);
            begun.push(next.len());
            match again {
                Some(at) => now = now.max(at),
                None => break,
            }
        }
        begun.retain(|count| *count > 0);
        assert_eq!(begun, [64, 64, 64, 64, 44]);
        assert!(now >= Moment::from_nanos(7) + STARVED * 3, "{now:?}");
        // Of those that are ready in time few are enough.
        let mut pace = Pace::new(&moves(300));
        (0..500).for_each(|number| pace.want(ShardId(0), &id(number), WAY));
        let next = pace.next(now).0;
        next.iter()
            .for_each(|next| pace.ready(next.shard, &next.process, WAY));
        assert_eq!(next.len(), 64);
        assert_eq!(pace.next(now + STARVED * 9), (Vec::new(), None));
    }

    #[test]
    fn h10_those_that_do_not_arrive_hold_up_the_others_for_one_turn_only() {
        let (mut pace, begin) = (Pace::new(&moves(10)), Moment::from_nanos(7));
        for number in 0..7 {
            pace.ready(ShardId(0), &id(number), WAY);
        }
        let mut turns = |now| core::iter::from_fn(|| pace.turn(now)).count();
        assert_eq!([turns(begin), turns(begin)], [3, 0]);
        let over = begin + TURN;
        assert_eq!([turns(over), turns(over)], [3, 0]);
        assert_eq!(pace.next_turn(), Some(over + TURN));
        // The first ones arrive late: that makes no room for others.
        pace.arrived(WAY, begin);
        assert_eq!(pace.turn(over), None);
        pace.arrived(WAY, over);
        assert!(pace.turn(over).is_some());
        assert_eq!(pace.next_turn(), None);
    }

    const WAY: Way = (NodeId(1), NodeId(2));

    #[test]
    fn no_more_are_under_way_than_may_be_and_all_go_in_the_end() {
        let mut pace = Pace::new(&moves(10));
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
        let mut pace = Pace::new(&moves(1000));
        pace.limit(NodeId(1), Some(50));
        for number in 0..500 {
            pace.want(ShardId(0), &id(number), WAY);
        }
        let (mut now, mut gone) = (Moment::ZERO + Duration::from_secs(10), 0);
        let end = now + Duration::from_secs(2);
        while now < end {
            let (next, again) = pace.next(now);
            gone += next.len();
            next.iter().for_each(|_| pace.ended(WAY));
            now = again.expect("more are waiting").max(now);
        }
        assert!((95..=110).contains(&gone), "{gone} in two seconds");
        pace.limit(NodeId(1), None);
        assert_eq!(pace.next(now).0.len(), BEGUN_AT_ONCE);
    }
}
