//! Places of rows by the hashes of their ids, read without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Slots of a bucket, which is one line of the cache.
const BUCKET: usize = 7;

/// How often the number of buckets can double.
const DOUBLINGS: usize = 24;

/// Of all slots, so many in seven are used before there are more.
const FULL: u64 = 6;

/// One in each byte but the highest, which is not used.
const ONES: u64 = 0x0001_0101_0101_0101;

/// The highest bit of each of those bytes.
const HIGHS: u64 = ONES << 7;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Bucket {
    /// A byte of the hash of each slot; zero if it is free.
    tags: AtomicU64,
    slots: [AtomicU64; BUCKET],
}

type Buckets = OnceLock<Box<[Bucket]>>;

/// Buckets of slots; what its own has no room for is in the next that has. A slot is zero, or half of
/// a hash and a place: what the other half of the hash would say is looked up at the place itself,
/// once, since few share so much.
///
/// Buckets are added and none moves, so readers need no lock; they can miss what is there only while
/// the [`version`](Self::version) changes. There is one writer at a time; its caller sees to that.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Index {
    /// Odd while places move from slot to slot.
    version: AtomicU64,
    /// The number of buckets, less one: the bits of a hash that choose its bucket.
    mask: AtomicU32,
    /// How many slots are not zero.
    len: AtomicU32,
    /// One bucket in the first and in the second, then twice as many in each.
    buckets: [Buckets; DOUBLINGS],
}

impl Default for Index {
    fn default() -> Self {
        let index = Self {
            version: AtomicU64::new(0),
            mask: AtomicU32::new(0),
            len: AtomicU32::new(0),
            buckets: Default::default(),
        };
        index.allocate(0, 1);
        index
    }
}

/// What a reader found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<T> {
    /// This.
    Here(T),
    /// It is not there.
    Missing,
    /// Something was written meanwhile: ask again.
    Unclear,
}

impl Index {
    /// Calls `look` with the places that a hash may be at, until it knows.
    #[inline]
    pub(super) fn find<T>(&self, hash: u64, mut look: impl FnMut(u32) -> Found<T>) -> Found<T> {
        let version = self.version.load(Ordering::Acquire);
        let mask = self.mask.load(Ordering::Acquire);
        for step in 0..=mask {
            let Some(bucket) = self.bucket(half(hash).wrapping_add(step) & mask) else {
                return Found::Unclear;
            };
            let tags = bucket.tags.load(Ordering::Acquire);
            // A byte above one that is the same may seem so too; the entry says the truth.
            let mut same = zeros(tags ^ (tag(half(hash)) * ONES));
            while same != 0 {
                let entry = bucket.load(same.trailing_zeros() / 8);
                if (entry >> 32) as u32 == half(hash) {
                    match look(place(entry)) {
                        Found::Missing => {}
                        known => return known,
                    }
                }
                same &= same - 1;
            }
            let full = zeros(tags) == 0;
            if !full {
                break;
            }
        }
        fence(Ordering::Acquire);
        let after = self.version.load(Ordering::Relaxed);
        match version == after && version.is_multiple_of(2) {
            true => Found::Missing,
            false => Found::Unclear,
        }
    }

    /// Adds a place; false if there is no room for as many.
    pub(super) fn insert(&self, hash: u64, place: u32) -> bool {
        let len = self.len.load(Ordering::Relaxed) + 1;
        let buckets = u64::from(self.mask.load(Ordering::Relaxed)) + 1;
        if u64::from(len) > buckets * FULL && !self.grow() {
            return false;
        }
        self.len.store(len, Ordering::Relaxed);
        self.put(entry(hash, place));
        true
    }

    /// Removes a place. One of those that had no room in its bucket goes there.
    pub(super) fn remove(&self, hash: u64, place: u32) {
        let mask = self.mask.load(Ordering::Relaxed);
        let gone = entry(hash, place);
        for step in 0..=mask {
            let at = half(hash).wrapping_add(step) & mask;
            let Some(bucket) = self.bucket(at) else {
                return;
            };
            if let Some(slot) = bucket.slot_of(gone) {
                self.change(|| self.fill(at, slot, mask));
                self.len.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            if bucket.slot_of(0).is_some() {
                return;
            }
        }
    }

    /// Empties a slot. If its bucket was full, one that was turned away there comes back, and so on.
    fn fill(&self, at: u32, slot: usize, mask: u32) {
        let (mut hole, mut slot) = (at, slot);
        let mut from = at;
        let mut full = self.take(hole, slot);
        while full {
            from = from.wrapping_add(1) & mask;
            let Some(bucket) = self.bucket(from).filter(|_| from != at) else {
                return;
            };
            full = bucket.slot_of(0).is_none();
            let turned_away = |entry: &u64| {
                let own = (entry >> 32) as u32;
                *entry != 0 && from.wrapping_sub(own) & mask >= from.wrapping_sub(hole) & mask
            };
            let entries = bucket
                .slots
                .iter()
                .map(|entry| entry.load(Ordering::Relaxed));
            let moves = entries.enumerate().find(|(_, entry)| turned_away(entry));
            if let Some((old, entry)) = moves {
                if let Some(bucket) = self.bucket(hole) {
                    bucket.store(slot, entry);
                }
                self.take(from, old);
                (hole, slot) = (from, old);
            }
        }
    }

    /// Empties a slot; whether its bucket was full.
    fn take(&self, at: u32, slot: usize) -> bool {
        self.bucket(at).is_some_and(|bucket| {
            let full = bucket.slot_of(0).is_none();
            bucket.store(slot, 0);
            full
        })
    }

    /// Twice as many buckets, all places in their new ones.
    fn grow(&self) -> bool {
        let mask = self.mask.load(Ordering::Relaxed);
        let buckets = mask as usize + 1;
        let segment = segment(mask + 1);
        if segment >= DOUBLINGS {
            return false;
        }
        self.allocate(segment, buckets);
        self.change(|| {
            let old = (0..=mask).filter_map(|at| self.bucket(at));
            let entries: Vec<u64> = old.flat_map(Bucket::drain).collect();
            self.mask.store(mask * 2 + 1, Ordering::Release);
            let entries = entries.into_iter().filter(|entry| *entry != 0);
            entries.for_each(|entry| self.put(entry));
        });
        true
    }

    /// Stores an entry in its bucket, or the next that has room.
    fn put(&self, entry: u64) {
        let mask = self.mask.load(Ordering::Relaxed);
        for step in 0..=mask {
            let at = ((entry >> 32) as u32).wrapping_add(step) & mask;
            let bucket = self.bucket(at);
            if let Some((bucket, free)) =
                bucket.and_then(|bucket| Some((bucket, bucket.slot_of(0)?)))
            {
                bucket.store(free, entry);
                return;
            }
        }
    }

    fn change(&self, change: impl FnOnce()) {
        let before = self.version.load(Ordering::Relaxed);
        self.version
            .store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        change();
        self.version
            .store(before.wrapping_add(2), Ordering::Release);
    }

    #[inline]
    fn bucket(&self, at: u32) -> Option<&Bucket> {
        let buckets = self.buckets.get(segment(at))?.get()?;
        // A segment begins at its length, and its length is a power of two, but for the first.
        buckets.get(at as usize & (buckets.len() - 1))
    }

    fn allocate(&self, segment: usize, buckets: usize) {
        if let Some(segment) = self.buckets.get(segment) {
            segment.get_or_init(|| (0..buckets).map(|_| Bucket::default()).collect());
        }
    }
}

impl Bucket {
    #[inline]
    fn load(&self, slot: u32) -> u64 {
        let slot = self.slots.get(slot as usize);
        slot.map_or(0, |slot| slot.load(Ordering::Acquire))
    }

    /// An entry, and then its tag: a reader that sees the one sees the other.
    fn store(&self, slot: usize, entry: u64) {
        if let Some(slot) = self.slots.get(slot) {
            slot.store(entry, Ordering::Release);
        }
        let tag = if entry == 0 {
            0
        } else {
            tag((entry >> 32) as u32)
        };
        let tags = self.tags.load(Ordering::Relaxed) & !(0xff << (slot * 8));
        self.tags.store(tags | tag << (slot * 8), Ordering::Release);
    }

    fn drain(&self) -> [u64; BUCKET] {
        self.tags.store(0, Ordering::Release);
        let slots = self.slots.each_ref();
        slots.map(|slot| slot.swap(0, Ordering::Release))
    }

    fn slot_of(&self, entry: u64) -> Option<usize> {
        let mut slots = self.slots.iter();
        slots.position(|slot| slot.load(Ordering::Relaxed) == entry)
    }
}

/// The highest bit of each byte that is zero, and perhaps of one above such a byte.
const fn zeros(bytes: u64) -> u64 {
    bytes.wrapping_sub(ONES) & !bytes & HIGHS
}

/// Bits of half a hash that do not choose its bucket, unless there are very many.
fn tag(half: u32) -> u64 {
    u64::from(half >> 24).max(1)
}

/// The segment of a bucket: as many bits as its number has.
const fn segment(bucket: u32) -> usize {
    (u32::BITS - bucket.leading_zeros()) as usize
}

const fn entry(hash: u64, place: u32) -> u64 {
    (half(hash) as u64) << 32 | (place as u64 + 1)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn half(hash: u64) -> u32 {
    hash as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn place(entry: u64) -> u32 {
    (entry as u32).wrapping_sub(1)
}
