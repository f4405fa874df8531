//! The rows of one shard.

use handover_hub_proto::identity::ProcessId;
use handover_hub_proto::row::Row;
use hashbrown::HashTable;

/// Rows that are allocated at once.
const LINES: usize = 8;

/// Rows, and their places by hash. The places of all rows of a hub are few enough to stay in the
/// cache, so that a look-up waits for memory once, for the row. Rows are never copied to make room:
/// a thousand lists that grow together leave holes of all sizes behind.
#[derive(Debug, Default)]
pub(super) struct Table {
    places: HashTable<u32>,
    /// All full but the last.
    #[expect(
        clippy::vec_box,
        reason = "a list of blocks that grows would copy all of its rows"
    )]
    blocks: Vec<Box<Block>>,
    len: usize,
}

/// Rows that lie in one line of the cache each.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Block([Option<Row>; LINES]);

impl Table {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.blocks
            .iter()
            .flat_map(|block| block.0.iter().flatten())
    }

    pub(super) fn get(&self, hash: u64, id: &ProcessId) -> Option<&Row> {
        let is = |place: &u32| row(&self.blocks, *place).is_some_and(|row| row.id() == id);
        row(&self.blocks, *self.places.find(hash, is)?)
    }

    /// Adds or replaces a row, and returns the one that was there.
    pub(super) fn put(&mut self, hash: u64, new: Row, of: impl Fn(&Row) -> u64) -> Option<Row> {
        let Self {
            places,
            blocks,
            len,
        } = self;
        let is = |place: &u32| row(blocks, *place).is_some_and(|row| row.id() == new.id());
        if let Some(place) = places.find(hash, is) {
            return slot(blocks, *place as usize)?.replace(new);
        }
        if *len == blocks.len() * LINES {
            blocks.push(Box::default());
        }
        // More rows than this do not fit into memory.
        let place = u32::try_from(*len).ok()?;
        *slot(blocks, *len)? = Some(new);
        *len += 1;
        places.insert_unique(hash, place, |place| row(blocks, *place).map_or(0, &of));
        None
    }

    /// Removes a row; the last one takes its place.
    pub(super) fn remove(
        &mut self,
        hash: u64,
        id: &ProcessId,
        of: impl Fn(&Row) -> u64,
    ) -> Option<Row> {
        let Self {
            places,
            blocks,
            len,
        } = self;
        let is = |place: &u32| row(blocks, *place).is_some_and(|row| row.id() == id);
        let (place, _) = places.find_entry(hash, is).ok()?.remove();
        *len -= 1;
        let last = slot(blocks, *len)?.take();
        let removed = if place as usize == *len {
            last
        } else {
            let moved = last.as_ref().map_or(0, &of);
            if let Some(known) = places.find_mut(moved, |known| *known as usize == *len) {
                *known = place;
            }
            std::mem::replace(slot(blocks, place as usize)?, last)
        };
        blocks.truncate(len.div_ceil(LINES));
        if *len < places.capacity() / 4 {
            places.shrink_to_fit(|place| row(blocks, *place).map_or(0, &of));
            blocks.shrink_to_fit();
        }
        removed
    }
}

fn row(blocks: &[Box<Block>], place: u32) -> Option<&Row> {
    let place = place as usize;
    blocks.get(place / LINES)?.0[place % LINES].as_ref()
}

fn slot(blocks: &mut [Box<Block>], place: usize) -> Option<&mut Option<Row>> {
    Some(&mut blocks.get_mut(place / LINES)?.0[place % LINES])
}
