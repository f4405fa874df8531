//! The copy of the registry that a node looks up.

mod table;
mod tags;

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use handover_hub_proto::identity::{ProcessId, ShardId};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Row, Rows};

use self::table::Table;
use self::tags::Tags;

/// All rows a node knows, each shard under its own lock, so that look-ups from many threads neither
/// wait for each other nor for the machine that writes. Clones show the same rows.
///
/// A row lies in a block of its shard, whole; all that a look-up of its host needs is in one line of
/// the cache. A child with an id of 16 bytes, one host and a small argument takes less than 140 bytes
/// in all.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Shards>);

#[derive(Debug)]
struct Shards {
    tables: Box<[RwLock<Table>]>,
    /// Seeded, so that nobody can choose ids that meet in a table.
    hasher: RandomState,
    tags: Tags,
}

impl Registry {
    /// An empty one, for a hub of that many shards.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self(Arc::new(Shards {
            tables: (0..shards.max(1)).map(|_| RwLock::default()).collect(),
            hasher: RandomState::default(),
            tags: Tags::default(),
        }))
    }

    /// How many shards its hub has.
    #[must_use]
    pub fn shards(&self) -> u16 {
        u16::try_from(self.0.tables.len()).unwrap_or(u16::MAX)
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.tables.iter().map(|table| read(table).len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.tables.iter().all(|table| read(table).is_empty())
    }

    /// Calls `visit` with every row, shard by shard. Rows of a shard are locked meanwhile: what
    /// takes long is better done after it.
    pub fn each(&self, mut visit: impl FnMut(&Row)) {
        for table in &self.0.tables {
            read(table).iter().for_each(&mut visit);
        }
    }

    /// What `look` makes of a row, without copying the row.
    pub fn with<T>(&self, id: &ProcessId, look: impl FnOnce(&Row) -> T) -> Option<T> {
        let table = read(self.of(id));
        table.get(self.hash(id), id).map(look)
    }

    /// The rows with this tag, in no order; found without looking at others.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Vec<Row> {
        let ids = self.0.tags.get(tag);
        // Between the two a row may have been removed or got another tag.
        let rows = ids.iter().filter_map(|id| self.get(id));
        rows.filter(|row| row.tag() == Some(tag)).collect()
    }

    fn of(&self, id: &ProcessId) -> &RwLock<Table> {
        &self.0.tables[usize::from(shard_of(id, self.shards()).0)]
    }

    fn hash(&self, id: &ProcessId) -> u64 {
        self.0.hasher.hash_one(id.as_str())
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Rows for Registry {
    fn get(&self, id: &ProcessId) -> Option<Row> {
        self.with(id, Row::clone)
    }

    fn put(&mut self, row: Row) {
        let hash = self.hash(row.id());
        let id = row.id().clone();
        let tag = row.tag().map(str::to_owned);
        let before = write(self.of(&id)).put(hash, row, |row| self.hash(row.id()));
        let before = before.as_ref().and_then(Row::tag);
        self.0.tags.change(&id, before, tag.as_deref());
    }

    fn remove(&mut self, id: &ProcessId) -> Option<Row> {
        let hash = self.hash(id);
        let removed = write(self.of(id)).remove(hash, id, |row| self.hash(row.id()))?;
        self.0.tags.change(id, removed.tag(), None);
        Some(removed)
    }

    fn shard(&self, shard: ShardId) -> Vec<Row> {
        match self.0.tables.get(usize::from(shard.0)) {
            Some(table) => read(table).iter().cloned().collect(),
            None => Vec::new(),
        }
    }

    fn count(&self, shard: ShardId) -> usize {
        match self.0.tables.get(usize::from(shard.0)) {
            Some(table) => read(table).len(),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests;
