//! New children where there is least to do, and old ones away from where there is too much.
//!
//! Every member says how busy it is. The oldest one, the leader, keeps a history of each, and tells
//! all at times what it makes of them: the [`Board`]. The home of a child decides where it runs by
//! the last board it has; without one that is fresh it is the home itself. So a dead leader holds up
//! nothing. A child that runs stays where it is until it is shifted or its node goes.
//!
//! | | ProcessHub 0.4.1 | here |
//! |---|---|---|
//! | score | 0.4 of processor, 0.3 of run queue ÷ 100, 0.2 of processes ÷ 10,000, 0.1 of memory ÷ 1 GiB | 0.4 of processor, 0.3 of messages waiting, 0.2 of processes against the fullest member, 0.1 of memory |
//! | history | 30 samples, each 0.9 of the later one; looked up under the leader's name for all | the same samples and weights, of each member its own |
//! | split | max(0.1, 1 − score) | the same times the member's weight; rounded so that many small batches come out right too |
//! | board empty | all on the node that was asked | at the homes of their shards |
//! | leader gone | 10 s without answer, then all on the node that was asked | its last board until that is stale, then at their homes |
//! | replicas | none | as redundancy says, the first by the board |
//! | join | nothing moves | [bounded shifts](Shift) from the busiest to the idlest, none of a process that was shifted of late |

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Moment;
use serde::{Deserialize, Serialize};

use crate::identity::{NodeId, ProcessId};
use crate::placement::{mix, takers};
use crate::view::{Load, Member, Standing};

mod history;

use self::history::History;

/// How busy a member is: 0 idle, 1000 as busy as can be.
pub type Score = u16;

/// A score that could not be higher.
const FULL: u64 = 1000;

/// What a member is given however busy it is, in thousandths of what an idle one is.
const LEAST: u64 = 100;

/// How load is balanced. The same on all nodes of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Balancing {
    /// How often the leader makes a board.
    pub every: Duration,
    /// A board older than this counts for nothing.
    pub stale: Duration,
    /// Messages waiting on a node that count as full.
    pub queued: u32,
    /// How processes that run are shifted; none if absent.
    pub shifting: Option<Shifting>,
}

impl Default for Balancing {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            stale: Duration::from_secs(30),
            queued: 1000,
            shifting: Some(Shifting::default()),
        }
    }
}

/// When processes that run are moved to balance load, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shifting {
    /// How far apart the scores of two members must be, in thousandths.
    pub tolerance: Score,
    /// Boards in a row on which both must have been before anything moves between them, and again
    /// after it did.
    pub settle: u16,
    /// Processes moved for one board, at most, in the whole hub.
    pub limit: u32,
}

impl Default for Shifting {
    fn default() -> Self {
        Self {
            tolerance: 200,
            settle: 3,
            limit: 100,
        }
    }
}

/// Processes to be moved from one member to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shift {
    /// From where.
    pub from: NodeId,
    /// To where.
    pub to: NodeId,
    /// How many.
    pub count: u32,
    /// How many the giver runs.
    pub of: u32,
}

impl Shift {
    /// How many of them a home moves that has `mine` of the giver's processes. Rounded by the home
    /// and the board, so that the parts of all homes add up.
    #[must_use]
    pub fn part(&self, mine: u32, home: NodeId, round: u64) -> u32 {
        let of = u64::from(self.of.max(1));
        let rounding = mix(home.0 ^ mix(round)) % of;
        let part = (u64::from(mine) * u64::from(self.count) + rounding) / of;
        u32::try_from(part).map_or(mine, |part| part.min(mine))
    }
}

/// What the leader makes of the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// Counts the boards of this leader.
    pub round: u64,
    /// How busy each member is.
    pub scores: BTreeMap<NodeId, Score>,
    /// What homes should move.
    pub shifts: Vec<Shift>,
}

/// The member that makes the boards, and keeps the list of declared children: the one that joined
/// first, of those that do not leave. None if there are no members.
#[must_use]
pub fn leader(members: &[Member]) -> Option<NodeId> {
    let oldest = |standing: fn(&Standing) -> bool| {
        members
            .iter()
            .filter(move |member| standing(&member.standing))
            .min_by_key(|member| (member.joined_ms, member.id))
    };
    oldest(|standing| *standing != Standing::Leaving)
        .or_else(|| oldest(|_| true))
        .map(|member| member.id)
}

/// The balancer of one node: makes boards if it leads, and places by the last one it has.
#[derive(Clone, Debug)]
pub struct Balancer {
    me: NodeId,
    settings: Balancing,
    histories: BTreeMap<NodeId, History>,
    round: u64,
    due: Option<Moment>,
    last: Option<(Moment, NodeId, Board)>,
}

impl Balancer {
    /// Of a node that has no board yet.
    #[must_use]
    pub const fn new(me: NodeId, settings: Balancing) -> Self {
        Self {
            me,
            settings,
            histories: BTreeMap::new(),
            round: 0,
            due: None,
            last: None,
        }
    }

    /// When [`tick`](Self::tick) has something to do next; at once if it never did.
    #[must_use]
    pub fn due(&self) -> Moment {
        self.due.unwrap_or(Moment::ZERO)
    }

    /// Makes a board if this node leads and one is due. It is to be told to all other members.
    pub fn tick(&mut self, now: Moment, members: &[Member]) -> Option<Board> {
        if self.due.is_some_and(|due| now < due) {
            return None;
        }
        self.due = Some(now + self.settings.every);
        if leader(members) != Some(self.me) {
            self.histories.clear();
            return None;
        }
        let board = self.board(members);
        self.last = Some((now, self.me, board.clone()));
        Some(board)
    }

    /// A board that a member made. One of somebody who does not lead, or an old one, counts for
    /// nothing; returns whether it counts, and so whether its shifts do.
    pub fn hear(&mut self, now: Moment, from: NodeId, board: Board, members: &[Member]) -> bool {
        let older = |(_, maker, last): &(Moment, NodeId, Board)| {
            *maker == from && last.round >= board.round
        };
        if leader(members) != Some(from) || self.last.as_ref().is_some_and(older) {
            return false;
        }
        self.last = Some((now, from, board));
        true
    }

    /// The board that counts now, for people and for [`Hook::Scores`](crate::hook::Hook::Scores).
    #[must_use]
    pub fn scores(&self, now: Moment) -> Option<&Board> {
        let (at, _, board) = self.last.as_ref()?;
        (now.since(*at) <= self.settings.stale).then_some(board)
    }

    /// Which part of new children each of these members should run, by the board that counts now.
    #[must_use]
    pub fn shares(&self, now: Moment, members: &[Member]) -> Shares {
        Shares::new(self.scores(now), members)
    }

    /// How load is balanced.
    #[must_use]
    pub const fn settings(&self) -> &Balancing {
        &self.settings
    }

    fn board(&mut self, members: &[Member]) -> Board {
        let most = members.iter().map(per_weight).max().unwrap_or(0);
        self.histories
            .retain(|node, _| members.iter().any(|member| member.id == *node));
        for member in members {
            let score = score(&member.load, per_weight(member), most, &self.settings);
            self.histories.entry(member.id).or_default().push(score);
        }
        let scores = self
            .histories
            .iter()
            .map(|(node, history)| (*node, history.decayed()))
            .collect();
        self.round += 1;
        let shifts = match self.settings.shifting {
            Some(shifting) => self.shifts(&shifting, &scores, members),
            None => Vec::new(),
        };
        Board {
            round: self.round,
            scores,
            shifts,
        }
    }

    /// How long a process that was shifted is left alone: one that keeps any node busy by itself
    /// would go round for ever.
    #[must_use]
    pub fn rest(&self) -> Duration {
        self.settings.every * history::SAMPLES as u32
    }

    /// From the busiest to the idlest, from the next to the next, while they are far apart. Half of
    /// what would even them out: scores come late.
    fn shifts(
        &mut self,
        shifting: &Shifting,
        scores: &BTreeMap<NodeId, Score>,
        members: &[Member],
    ) -> Vec<Shift> {
        let settled = |node: &NodeId| {
            let history = self.histories.get(node);
            history.is_some_and(|history| history.since_shift() >= shifting.settle)
        };
        let mut order: Vec<(Score, NodeId, u32)> = takers(members)
            .into_iter()
            .filter(|(member, _)| settled(&member.id))
            .filter_map(|(member, _)| {
                let score = *scores.get(&member.id)?;
                Some((score, member.id, member.load.processes))
            })
            .collect();
        order.sort_unstable();
        let (mut left, mut shifts) = (shifting.limit, Vec::new());
        let half = order.len() / 2;
        for (idle, busy) in order.iter().take(half).zip(order.iter().rev()) {
            let apart = busy.0 - idle.0;
            if apart <= shifting.tolerance {
                break;
            }
            // Even at half of the difference each; half of that.
            let even = u64::from(busy.2) * u64::from(apart) / (4 * u64::from(busy.0));
            let count = u32::try_from(even).unwrap_or(u32::MAX).min(left);
            if count > 0 {
                left -= count;
                shifts.push(Shift {
                    from: busy.1,
                    to: idle.1,
                    count,
                    of: busy.2,
                });
            }
        }
        for node in shifts.iter().flat_map(|shift| [shift.from, shift.to]) {
            if let Some(history) = self.histories.get_mut(&node) {
                history.shifted();
            }
        }
        shifts
    }
}

/// How many of `count` children each member gets: in proportion to its weight and what it has left,
/// each within one of its exact share. The sum is `count` unless there are no members. Which way a
/// share is rounded depends on the seed, in proportion: children that are started one at a time
/// are spread as those of one large batch are.
#[must_use]
pub fn split(
    count: usize,
    seed: u64,
    board: Option<&Board>,
    members: &[Member],
) -> Vec<(NodeId, usize)> {
    let shares = Shares::new(board, members);
    let total = shares.total();
    if total == 0 {
        return Vec::new();
    }
    // One point in each of `count` equal steps along all shares laid end to end.
    let start = shares.point(seed);
    let mut given = 0;
    let mut split = Vec::new();
    for (node, reached) in shares.reached {
        let upto = (count as u128 * reached + start) / total;
        let upto = usize::try_from(upto).unwrap_or(count);
        if upto > given {
            split.push((node, upto - given));
            given = upto;
        }
    }
    split
}

/// Which part of new children each member should run: in proportion to its weight and what it has
/// left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The members, and up to where the share of each reaches if all are laid end to end.
    reached: Vec<(NodeId, u128)>,
    /// Another one with each board and each set of members: what one node ran goes to all others.
    salt: u64,
}

impl Shares {
    /// By a board, or by weights alone.
    #[must_use]
    pub fn new(board: Option<&Board>, members: &[Member]) -> Self {
        let left = |member: &Member| match board {
            // Who is not on it has come since, and is as idle as can be.
            Some(board) => {
                let score = board.scores.get(&member.id).copied().unwrap_or(0);
                FULL.saturating_sub(u64::from(score)).max(LEAST)
            }
            None => FULL,
        };
        let mut end = 0;
        let reached = takers(members).into_iter().map(|(member, weight)| {
            end += u128::from(left(member)) * u128::from(weight);
            (member.id, end)
        });
        let reached: Vec<(NodeId, u128)> = reached.collect();
        let salt = |salt, (node, _): &(NodeId, u128)| mix(salt ^ node.0);
        let salt = reached
            .iter()
            .fold(board.map_or(0, |board| board.round), salt);
        Self { reached, salt }
    }

    /// Who runs one child; none if there are no members.
    #[must_use]
    pub fn taker(&self, child: &ProcessId) -> Option<NodeId> {
        let seed = xxhash_rust::xxh3::xxh3_64(child.as_str().as_bytes());
        let (total, start) = (self.total(), self.point(seed ^ self.salt));
        let before = |(_, reached): &(NodeId, u128)| reached + start < total;
        let at = self.reached.partition_point(before);
        self.reached.get(at).map(|(node, _)| *node)
    }

    fn total(&self) -> u128 {
        self.reached.last().map_or(0, |(_, reached)| *reached)
    }

    fn point(&self, seed: u64) -> u128 {
        (u128::from(mix(seed)) * self.total()) >> u64::BITS
    }
}

/// Processes of a member for every 100 of its weight.
fn per_weight(member: &Member) -> u64 {
    u64::from(member.load.processes) * 100 / u64::from(member.weight.max(1))
}

/// How busy a member says it is.
fn score(load: &Load, processes: u64, most: u64, settings: &Balancing) -> Score {
    let share = |part: u64, whole: u64| (part * FULL).checked_div(whole).unwrap_or(0).min(FULL);
    let score = 4 * u64::from(load.processor).min(FULL)
        + 3 * share(u64::from(load.queued), u64::from(settings.queued))
        + 2 * share(processes, most)
        + u64::from(load.memory).min(FULL);
    Score::try_from(score / 10).unwrap_or(Score::MAX)
}

#[cfg(test)]
mod tests;
