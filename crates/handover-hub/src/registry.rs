//! The copy of the registry that a node looks up.

mod index;
mod kept;
mod line;
mod lines;
mod tags;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use foldhash::fast::RandomState;
use handover_hub_proto::identity::{ProcessId, ShardId};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::row::{Host, Rest, Row, Rows};

use self::index::{Found, Index};
use self::kept::Kept;
use self::line::{Content, Key, Line};
use self::lines::Lines;
use self::tags::Tags;

/// All rows a node knows. Clones show the same rows.
///
/// [`active`](Self::active) reads two lines of memory, a slot of the index and the line that holds the
/// id and who answers for it, and writes none: look-ups from many threads neither wait for each
/// other nor for the machine that writes. All else is behind a lock. A child with an id of up to 24
/// bytes, one host and a small argument takes less than 170 bytes in all; the room of removed rows is
/// kept for later ones.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    shards: u16,
    /// Seeded, so that nobody can choose ids that meet in an index.
    hasher: RandomState,
    indexes: [Index; INDEXES],
    lines: Lines,
    kept: RwLock<Kept>,
    tags: Tags,
}

/// Parts of the index, so that one that doubles is soon done.
const INDEXES: usize = 64;

/// How often a look-up that met a change asks again before it waits for the lock.
const ATTEMPTS: usize = 16;

impl Registry {
    /// An empty one, for a hub of that many shards.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        let shards = shards.max(1);
        Self(Arc::new(Parts {
            shards,
            hasher: RandomState::default(),
            indexes: std::array::from_fn(|_| Index::default()),
            lines: Lines::default(),
            kept: RwLock::new(Kept::new(shards)),
            tags: Tags::default(),
        }))
    }

    /// How many shards its hub has.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.0.shards
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        read(&self.0.kept).len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who answers calls to a process, if anybody does; `None` if there is no such row. Without a
    /// lock, and the fastest way to ask.
    #[must_use]
    pub fn active(&self, id: &ProcessId) -> Option<Option<Host>> {
        let key = self.key(id);
        if !key.is_long() {
            for _ in 0..ATTEMPTS {
                match self.glance(&key) {
                    Found::Here(host) => return Some(host),
                    Found::Missing => return None,
                    Found::Unclear => std::hint::spin_loop(),
                }
            }
        }
        self.get(id).map(|row| row.active())
    }

    /// Calls `visit` with every row, shard by shard. Each shard's are copied first: nothing is
    /// locked meanwhile.
    pub fn each(&self, visit: impl FnMut(&Row)) {
        let all = (0..self.shards()).flat_map(|shard| self.shard(ShardId(shard)));
        let mut visit = visit;
        all.for_each(|row| visit(&row));
    }

    /// The rows with this tag, in no order; found without looking at others.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Vec<Row> {
        let ids = self.0.tags.get(tag);
        // Between the two a row may have been removed or got another tag.
        let rows = ids.iter().filter_map(|id| self.get(id));
        rows.filter(|row| row.tag() == Some(tag)).collect()
    }

    fn shard_of(&self, id: &ProcessId) -> ShardId {
        shard_of(id, self.0.shards)
    }

    fn key(&self, id: &ProcessId) -> Key {
        Key::new(id, &self.0.hasher)
    }

    fn index(&self, key: &Key) -> &Index {
        &self.0.indexes[(key.hash >> 32) as usize % INDEXES]
    }

    fn glance(&self, key: &Key) -> Found<Option<Host>> {
        self.index(key).find(key.hash, |place| {
            match self.0.lines.get(place).and_then(Line::read) {
                Some(content) if content.is(key) => Found::Here(content.active),
                Some(_) => Found::Missing,
                None => Found::Unclear,
            }
        })
    }

    /// Where a row is, and what its line says. For who holds the lock.
    fn find(&self, kept: &Kept, key: &Key, id: &ProcessId) -> Option<(u32, Content)> {
        let found = self.index(key).find(key.hash, |place| {
            let content = self.0.lines.get(place).and_then(Line::read);
            let is = |content: &Content| {
                content.is(key) && (!key.is_long() || kept.long_id(place) == Some(id))
            };
            match content.filter(is) {
                Some(content) => Found::Here((place, content)),
                None => Found::Missing,
            }
        });
        match found {
            Found::Here(found) => Some(found),
            Found::Missing | Found::Unclear => None,
        }
    }

    fn row(&self, kept: &Kept, place: u32) -> Option<Row> {
        kept.row(place, &self.0.lines.get(place)?.read()?)
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
        let key = self.key(id);
        let kept = read(&self.0.kept);
        let (place, content) = self.find(&kept, &key, id)?;
        kept.row(place, &content)
    }

    fn put(&mut self, row: Row) {
        let key = self.key(row.id());
        let mut kept = write(&self.0.kept);
        let known = self.find(&kept, &key, row.id());
        let place = known.map_or_else(|| kept.vacant(), |(place, _)| place);
        // More rows than this do not fit into memory.
        let Some(line) = self.0.lines.make(place) else {
            return;
        };
        let position = match known {
            Some((_, content)) => content.position,
            None => kept.list(self.shard_of(row.id()), place),
        };
        line.write(&Content::new(&key, position, row.active()));
        let before = kept.put(place, &row, key.is_long());
        if known.is_none() && !self.index(&key).insert(key.hash, place) {
            tracing::error!(id = %row.id(), "no room in the registry");
        }
        drop(kept);
        let before = before.as_ref().and_then(Rest::tag);
        self.0.tags.change(row.id(), before, row.tag());
    }

    fn remove(&mut self, id: &ProcessId) -> Option<Row> {
        let key = self.key(id);
        let mut kept = write(&self.0.kept);
        let (place, content) = self.find(&kept, &key, id)?;
        let row = kept.row(place, &content);
        self.index(&key).remove(key.hash, place);
        self.0.lines.get(place)?.clear();
        if let Some(moved) = kept.remove(self.shard_of(id), place, content.position) {
            let line = self.0.lines.get(moved)?;
            let said = line.read()?;
            line.write(&Content {
                position: content.position,
                ..said
            });
        }
        drop(kept);
        let row = row?;
        self.0.tags.change(id, row.tag(), None);
        Some(row)
    }

    fn shard(&self, shard: ShardId) -> Vec<Row> {
        let kept = read(&self.0.kept);
        let places = kept.of_shard(shard).iter();
        places.filter_map(|place| self.row(&kept, *place)).collect()
    }

    fn count(&self, shard: ShardId) -> usize {
        read(&self.0.kept).of_shard(shard).len()
    }
}

#[cfg(test)]
mod tests;
