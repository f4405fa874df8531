//! A node's copy of all rows, in an order that is the same in each run.

use std::collections::BTreeMap;

use handover_hub_proto::identity::{ProcessId, ShardId};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Row, Rows};

/// Rows by shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    shards: u16,
    rows: BTreeMap<ShardId, BTreeMap<ProcessId, Row>>,
}

impl Registry {
    /// No row.
    #[must_use]
    pub const fn new(shards: u16) -> Self {
        Self {
            shards,
            rows: BTreeMap::new(),
        }
    }

    /// All rows.
    pub fn all(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().flat_map(BTreeMap::values)
    }
}

impl Rows for Registry {
    fn get(&self, id: &ProcessId) -> Option<Row> {
        let rows = self.rows.get(&shard_of(id, self.shards))?;
        rows.get(id).cloned()
    }

    fn put(&mut self, row: Row) {
        let rows = self.rows.entry(shard_of(row.id(), self.shards));
        rows.or_default().insert(row.id().clone(), row);
    }

    fn remove(&mut self, id: &ProcessId) -> Option<Row> {
        self.rows.get_mut(&shard_of(id, self.shards))?.remove(id)
    }

    fn shard(&self, shard: ShardId) -> Vec<Row> {
        let rows = self.rows.get(&shard);
        rows.map_or_else(Vec::new, |rows| rows.values().cloned().collect())
    }

    fn count(&self, shard: ShardId) -> usize {
        self.rows.get(&shard).map_or(0, BTreeMap::len)
    }
}
