//! The copy of the registry that a node looks up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use handover_hub_proto::identity::{ProcessId, ShardId};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Row, Rows};

type Shard = HashMap<ProcessId, Row, foldhash::fast::RandomState>;

/// All rows a node knows, each shard under its own lock, so that look-ups from many threads neither
/// wait for each other nor for the machine that writes. Clones show the same rows.
#[derive(Clone, Debug)]
pub struct Registry {
    shards: Arc<[RwLock<Shard>]>,
}

impl Registry {
    /// An empty one, for a hub of that many shards.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self {
            shards: (0..shards.max(1)).map(|_| RwLock::default()).collect(),
        }
    }

    /// How many shards its hub has.
    #[must_use]
    pub fn shards(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap_or(u16::MAX)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| read(shard).len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| read(shard).is_empty())
    }

    /// Calls `visit` with every row, shard by shard. Rows of a shard are locked meanwhile: what
    /// takes long is better done after it.
    pub fn each(&self, mut visit: impl FnMut(&Row)) {
        for shard in &*self.shards {
            read(shard).values().for_each(&mut visit);
        }
    }

    /// What `look` makes of a row, without copying the row.
    pub fn with<T>(&self, id: &ProcessId, look: impl FnOnce(&Row) -> T) -> Option<T> {
        read(self.of(id)).get(id).map(look)
    }

    fn of(&self, id: &ProcessId) -> &RwLock<Shard> {
        &self.shards[usize::from(shard_of(id, self.shards()).0)]
    }
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

impl Rows for Registry {
    fn get(&self, id: &ProcessId) -> Option<Row> {
        self.with(id, Row::clone)
    }

    fn put(&mut self, row: Row) {
        write(self.of(row.id())).insert(row.id().clone(), row);
    }

    fn remove(&mut self, id: &ProcessId) -> Option<Row> {
        write(self.of(id)).remove(id)
    }

    fn shard(&self, shard: ShardId) -> Vec<Row> {
        match self.shards.get(usize::from(shard.0)) {
            Some(shard) => read(shard).values().cloned().collect(),
            None => Vec::new(),
        }
    }

    fn count(&self, shard: ShardId) -> usize {
        match self.shards.get(usize::from(shard.0)) {
            Some(shard) => read(shard).len(),
            None => 0,
        }
    }
}
