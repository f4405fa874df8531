//! Rendezvous hashing with weights and a bound on every member's share.
//!
//! Each pair of shard and member has a *cost*, an exponential variate divided by the member's
//! weight, drawn by hashing the shard and the member's **name**: a node that was restarted gets the
//! shards it had. The cheapest pairs are joined first; a member that has reached its bound takes no
//! more. That is the one stable matching of shards and members, so the result depends on nothing
//! but the set of members: not on their order, not on history.
//!
//! The bound is a member's expected share, and three quarters of the standard deviation that hashing
//! alone would give it (the square root of the share) or five percent, whichever is more. A tighter
//! one moves more when the members change, since whoever is pushed out moves too; a looser one is
//! less even. Its fraction is rounded by the member's name, so that with a changed number of members
//! the bounds of a few change and not those of all at once.
//!
//! Mean of twelve joins (six with 1,000 members): the fullest member's shards ÷ the mean, then shards
//! moved ÷ the fewest that could be.
//!
//! | shards | members | hashing alone | this bound | five percent |
//! |---|---|---|---|---|
//! | 1,024 | 3 | 1.12, 1.01 | 1.07, 1.05 | 1.06, 1.07 |
//! | 1,024 | 10 | 1.21, 1.02 | 1.10, 1.10 | 1.07, 1.18 |
//! | 1,024 | 100 | 1.84, 0.89 | 1.34, 1.32 | 1.16, 1.95 |
//! | 16,384 | 10 | 1.05, 1.01 | 1.05, 1.01 | 1.05, 1.01 |
//! | 16,384 | 100 | 1.21, 1.01 | 1.07, 1.19 | 1.06, 1.24 |
//! | 16,384 | 1,000 | 1.91, 0.88 | 1.22, 1.48 | 1.10, 1.91 |

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use super::{mix, takers};
use crate::identity::{NodeId, ShardId};
use crate::view::Member;

/// How far a member's share may exceed what its weight entitles it to, at least, in hundredths.
const SLACK: u128 = 5;

/// What it costs to place a shard on a member. Lower is better; the rank breaks ties.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    cost: u64,
    rank: u32,
}

/// A member as placement sees it.
struct Candidate {
    id: NodeId,
    hash: u64,
    weight: u32,
    /// Its place among all names.
    rank: u32,
    /// Shards it takes at most.
    bound: usize,
}

/// The home that every shard should have, in the order of the shards; empty if there are no
/// members.
///
/// Only members that are [`Standing::Serving`](crate::view::Standing::Serving) and have a weight are named. If there is none, those
/// that are evacuated are, and then those that leave: a shard has a home as long as anybody lives.
/// Of several members with one name the one that joined last counts, the others are its past.
///
/// No member has more than its share by weight and its square root or five percent of it, rounded
/// up to a whole shard.
#[must_use]
pub fn homes(members: &[Member], shards: u16) -> Vec<NodeId> {
    let candidates = candidates(members, shards);
    if candidates.is_empty() {
        return Vec::new();
    }
    let mut homes = alloc::vec![0_usize; usize::from(shards)];
    let mut taken: Vec<BinaryHeap<(u64, u16)>> = Vec::new();
    taken.resize_with(candidates.len(), BinaryHeap::new);
    for first in 0..shards {
        // Whoever is pushed out looks for a place itself, at a higher cost each time.
        let mut next = Some((first, None));
        while let Some((shard, above)) = next.take() {
            let Some((at, cost)) = cheapest(&candidates, shard, above) else {
                break;
            };
            homes[usize::from(shard)] = at;
            taken[at].push((cost.cost, shard));
            if taken[at].len() > candidates[at].bound
                && let Some((cost, shard)) = taken[at].pop()
            {
                let rank = candidates[at].rank;
                next = Some((shard, Some(Cost { cost, rank })));
            }
        }
    }
    homes.into_iter().map(|at| candidates[at].id).collect()
}

/// The members that take processes, in the order in which a shard prefers them, without a bound;
/// at most `limit`.
#[must_use]
pub fn ranked(members: &[Member], shard: ShardId, limit: usize) -> Vec<NodeId> {
    let candidates = candidates(members, 1);
    let seed = mix(u64::from(shard.0));
    let mut order: Vec<(Cost, NodeId)> = candidates
        .iter()
        .map(|candidate| (candidate.cost(draw(seed, candidate)), candidate.id))
        .collect();
    order.sort_unstable();
    order.truncate(limit);
    order.into_iter().map(|(_, id)| id).collect()
}

impl Candidate {
    /// The cost of a draw: minus its logarithm to base 2, divided by the weight.
    fn cost(&self, draw: u64) -> Cost {
        Cost {
            cost: (minus_log2(draw) << 17) / u64::from(self.weight),
            rank: self.rank,
        }
    }
}

/// Who may own shards, those of one weight side by side.
fn candidates(members: &[Member], shards: u16) -> Vec<Candidate> {
    let takers = takers(members);
    let total: u64 = takers.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut candidates: Vec<Candidate> = takers
        .iter()
        .zip(0..)
        .map(|((member, weight), rank)| {
            let hash = xxhash_rust::xxh3::xxh3_64(member.name.as_str().as_bytes());
            Candidate {
                id: member.id,
                hash,
                weight: *weight,
                rank,
                bound: bound(shards, *weight, total, hash),
            }
        })
        .collect();
    candidates.sort_by_key(|candidate| (candidate.weight, candidate.rank));
    candidates
}

/// How many shards a member takes at most: never less than its share, so that all find a place.
fn bound(shards: u16, weight: u32, total: u64, name: u64) -> usize {
    // In units of 2⁻¹⁰ shards.
    let share = ((u128::from(shards) * u128::from(weight)) << 10) / u128::from(total.max(1));
    let deviation = (share << 10).isqrt() * 3 / 4;
    let slack = deviation.max(share * SLACK / 100);
    let rounding = u128::from(mix(!name) % 1024) + 512;
    let bound = (share + slack + rounding) >> 10;
    usize::try_from(bound.max(1)).unwrap_or(usize::MAX)
}

/// The cheapest candidate of a shard among those that cost more than `above`.
///
/// Among equal weights the highest draw is the cheapest, so that a logarithm is taken only for a
/// draw that beats those before it: a few times a shard, not once a member.
fn cheapest(candidates: &[Candidate], shard: u16, above: Option<Cost>) -> Option<(usize, Cost)> {
    let seed = mix(u64::from(shard));
    let mut best: Option<(usize, Cost)> = None;
    let (mut weight, mut highest) = (0, 0);
    for (at, candidate) in candidates.iter().enumerate() {
        if candidate.weight != weight {
            (weight, highest) = (candidate.weight, 0);
        }
        let draw = draw(seed, candidate);
        if draw < highest {
            continue;
        }
        let cost = candidate.cost(draw);
        if above.is_some_and(|above| cost <= above) {
            continue;
        }
        highest = draw;
        if best.is_none_or(|(_, best)| cost < best) {
            best = Some((at, cost));
        }
    }
    best
}

fn draw(seed: u64, candidate: &Candidate) -> u64 {
    mix(seed ^ candidate.hash)
}

/// Minus the logarithm to base 2 of `(draw + 1) / 2^64`, in units of 2⁻⁴⁰. In integers, since every
/// node must come to the same result.
fn minus_log2(draw: u64) -> u64 {
    const FRACTION: u32 = 40;
    let value = draw.max(1);
    let whole = value.leading_zeros();
    // The mantissa, in [1, 2) with 63 bits behind the point; squaring it yields a bit each time.
    let mut mantissa = value << whole;
    let mut log = 0_u64;
    for _ in 0..FRACTION {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        log <<= 1;
        if square >> 64 == 0 {
            mantissa = square as u64;
        } else {
            log |= 1;
            mantissa = (square >> 1) as u64;
        }
    }
    (u64::from(whole + 1) << FRACTION) - log
}

#[cfg(test)]
mod tests;
