//! Children that ended for good, and under which epoch.
//!
//! Whoever ran one of them and was away meanwhile does not know, and may find nobody who has a row of
//! it: what it runs under an earlier epoch ends, too. Homes tell each other with the rows.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use handover_proto::moment::Moment;

use crate::identity::{Epoch, ProcessId, ShardId};

/// Most that are remembered; beyond that the ones that were heard of first are forgotten.
const MOST: usize = 64 * 1024;

/// A child that ended, as one node tells another.
pub(crate) type Stopped = (ProcessId, Epoch);

/// All that is remembered.
#[derive(Default)]
pub(crate) struct Buried {
    shards: BTreeMap<ShardId, BTreeMap<ProcessId, Epoch>>,
    /// In the order in which they were heard of.
    heard: VecDeque<(Moment, ShardId, Stopped)>,
}

impl Buried {
    /// Remembers that all of a child ended that ran under an earlier epoch.
    pub(crate) fn put(&mut self, shard: ShardId, (process, epoch): Stopped, now: Moment) {
        let of_shard = self.shards.entry(shard).or_default();
        if of_shard.get(&process).is_some_and(|known| *known >= epoch) {
            return;
        }
        of_shard.insert(process.clone(), epoch);
        self.heard.push_back((now, shard, (process, epoch)));
        if self.heard.len() > MOST {
            self.forget_first();
        }
    }

    /// Forgets what was heard of as long ago.
    pub(crate) fn forget(&mut self, now: Moment, kept: Duration) {
        while let Some((heard, ..)) = self.heard.front() {
            if now.since(*heard) < kept {
                return;
            }
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((_, shard, (process, epoch))) = self.heard.pop_front() else {
            return;
        };
        let Some(of_shard) = self.shards.get_mut(&shard) else {
            return;
        };
        // Not if it ended once more since.
        if of_shard.get(&process) == Some(&epoch) {
            of_shard.remove(&process);
        }
        if of_shard.is_empty() {
            self.shards.remove(&shard);
        }
    }

    /// Whether whoever runs a child under this epoch did not hear that it ended.
    pub(crate) fn covers(&self, shard: ShardId, process: &ProcessId, epoch: Epoch) -> bool {
        let ended = self.shards.get(&shard).and_then(|of| of.get(process));
        ended.is_some_and(|ended| epoch < *ended)
    }

    /// All of one shard.
    pub(crate) fn of(&self, shard: ShardId) -> Vec<Stopped> {
        let of_shard = self.shards.get(&shard).into_iter().flatten();
        of_shard.map(|(id, epoch)| (id.clone(), *epoch)).collect()
    }
}

#[cfg(test)]
mod tests;
