//! Who should own which shard, and who should run which child.
//!
//! | where | what |
//! |---|---|
//! | [`shard_of`] | the shard of a process |
//! | [`homes`] | the home that every shard should have |
//! | [`ranked`] | the members in the order in which a shard prefers them |
//! | [`Distribution`] | where a new child runs: at its home, on the nodes that its starter names ([`guided`]), or where there is least to do ([`balance`](crate::balance)) |

pub mod guided;
mod rendezvous;

use alloc::vec::Vec;
use core::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::balance::Balancing;
use crate::identity::{ProcessId, ShardId};
use crate::view::{Member, Standing};

pub use self::rendezvous::{homes, ranked};

/// Shards of a hub unless its settings say otherwise.
pub const SHARDS: u16 = 1024;

/// Who says where a new child runs. The same on all nodes of a hub. Whatever it is, a child that is
/// [pinned](crate::spec::Placing::Pinned) runs where it is pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// The home of its shard runs it, and it moves with it.
    #[default]
    Consistent,
    /// Whoever starts it must name its nodes, and it never moves.
    Guided,
    /// The node with least to do runs it, and it moves when that changes much, or its node goes.
    LoadBalanced(Balancing),
}

/// The shard of a process: the XXH3 hash of its id modulo the number of shards. A number of zero
/// counts as one.
#[must_use]
pub fn shard_of(id: &ProcessId, shards: u16) -> ShardId {
    let hash = xxhash_rust::xxh3::xxh3_64(id.as_str().as_bytes());
    let shard = hash % u64::from(shards.max(1));
    ShardId(u16::try_from(shard).unwrap_or(0))
}

/// Who may be given something, by name, and with which weight: members that serve and have a
/// weight, or else those that are evacuated, or else those that leave, or else all with the same
/// weight. Of several members with one name the one that joined last.
pub(crate) fn takers(members: &[Member]) -> Vec<(&Member, u32)> {
    let of = |standing| {
        let may = move |member: &&Member| member.standing == standing && member.weight > 0;
        members
            .iter()
            .filter(may)
            .map(|member| (member, member.weight))
            .collect()
    };
    let mut takers: Vec<(&Member, u32)> = of(Standing::Serving);
    for standing in [Standing::Evacuating, Standing::Leaving] {
        if takers.is_empty() {
            takers = of(standing);
        }
    }
    if takers.is_empty() {
        takers = members.iter().map(|member| (member, 1)).collect();
    }
    takers.sort_by_key(|(member, _)| (&member.name, Reverse((member.joined_ms, member.id))));
    takers.dedup_by(|(later, _), (kept, _)| later.name == kept.name);
    takers
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input changes half of
/// the bits of the output.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
