//! Who should own which shard, and who should run which child.
//!
//! | where | what |
//! |---|---|
//! | [`shard_of`] | the shard of a process |
//! | [`homes`] | the home that every shard should have |
//! | [`ranked`] | the members in the order in which a shard prefers them |

pub mod guided;
mod rendezvous;

use crate::identity::{ProcessId, ShardId};

pub use self::rendezvous::{homes, ranked};

/// Shards of a hub unless its settings say otherwise.
pub const SHARDS: u16 = 1024;

/// The shard of a process: the XXH3 hash of its id modulo the number of shards. A number of zero
/// counts as one.
#[must_use]
pub fn shard_of(id: &ProcessId, shards: u16) -> ShardId {
    let hash = xxhash_rust::xxh3::xxh3_64(id.as_str().as_bytes());
    let shard = hash % u64::from(shards.max(1));
    ShardId(u16::try_from(shard).unwrap_or(0))
}
