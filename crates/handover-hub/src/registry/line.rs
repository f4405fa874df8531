//! What a look-up needs of a row, in one line of the cache, read without a lock.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use foldhash::fast::RandomState;
use handover_hub_proto::identity::{Epoch, NodeId, ProcessId, Term};
use handover_hub_proto::row::{Host, Role};

/// Bytes of an id that a line holds.
const INLINE: usize = 24;

/// An id as lines and the index know it: its bytes, followed by zeros, which no id has. One that is
/// longer is a hash, which differs from all others in its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) hash: u64,
    words: Words,
}

pub(super) type Words = [u64; 3];

/// The last byte of a text in UTF-8 is none of this.
const LONG: u64 = 0xff << 56;

impl Key {
    #[inline]
    pub(super) fn new(id: &ProcessId, hasher: &RandomState) -> Self {
        let id = id.as_str().as_bytes();
        let words = match id.len() {
            0..=INLINE => words(id),
            _ => [hasher.hash_one(id), 0, LONG],
        };
        let mut hash = hasher.build_hasher();
        words.into_iter().for_each(|word| hash.write_u64(word));
        let hash = hash.finish();
        Self { hash, words }
    }

    /// Whether equal keys may be those of different ids.
    pub(super) const fn is_long(&self) -> bool {
        self.words[2] == LONG
    }
}

/// The bytes of an id that is not too long, eight by eight, then zeros.
#[inline]
fn words(id: &[u8]) -> Words {
    let mut words = [0; 3];
    let (whole, rest) = id.as_chunks::<8>();
    let mut all = words.iter_mut();
    // In this order: the word after the last whole one is not to be taken.
    for (bytes, word) in whole.iter().zip(all.by_ref()) {
        *word = u64::from_le_bytes(*bytes);
    }
    if let Some(word) = all.next() {
        *word = match (rest.len(), id.last_chunk::<8>()) {
            (0, _) => 0,
            // The last eight, without those that were in the word before.
            (len, Some(last)) => u64::from_le_bytes(*last) >> (64 - 8 * len),
            _ => rest
                .iter()
                .rev()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
    }
    words
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) words: Words,
    /// Where its shard's list names it.
    pub(super) position: u32,
    /// Who answers calls.
    pub(super) active: Option<Host>,
}

/// Somebody answers calls.
const ACTIVE: u64 = 1;

/// And has all that was acknowledged.
const FILLED: u64 = 2;

impl Content {
    pub(super) const fn new(key: &Key, position: u32, active: Option<Host>) -> Self {
        Self {
            words: key.words,
            position,
            active,
        }
    }

    /// Whether it is that of this key. An empty line is that of none: no id is empty.
    #[inline]
    pub(super) fn is(&self, key: &Key) -> bool {
        self.words == key.words
    }

    /// Its id, unless that is too long for a line.
    pub(super) fn id(&self) -> Option<ProcessId> {
        let bytes = self.words.map(u64::to_le_bytes);
        let text = bytes.as_flattened();
        let len = text.iter().position(|byte| *byte == 0);
        let id = text.get(..len.unwrap_or(INLINE))?;
        ProcessId::new(std::str::from_utf8(id).ok()?).ok()
    }

    fn pack(&self) -> [u64; 7] {
        let (said, host) = match self.active {
            Some(host) => {
                let filled = if host.filled { FILLED } else { 0 };
                let Epoch { term, grant } = host.epoch;
                (ACTIVE | filled, [host.node.0, term.0, grant])
            }
            None => (0, [0; 3]),
        };
        let about = said | u64::from(self.position) << 32;
        let ([a, b, c], [node, term, grant]) = (self.words, host);
        [a, b, c, about, node, term, grant]
    }

    #[inline]
    fn unpack([a, b, c, about, node, term, grant]: [u64; 7]) -> Self {
        let epoch = Epoch {
            term: Term(term),
            grant,
        };
        let host = Host {
            node: NodeId(node),
            epoch,
            role: Role::Active,
            filled: about & FILLED != 0,
        };
        Self {
            words: [a, b, c],
            position: (about >> 32) as u32,
            active: (about & ACTIVE != 0).then_some(host),
        }
    }
}

/// A sequence lock around seven words (Boehm, "Can seqlocks get along with programming language
/// memory models?", 2012). Readers write nothing, so they neither wait for each other nor hold up
/// what their processor loads next. There is one writer at a time; its caller sees to that.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Line {
    /// Odd while it is written.
    sequence: AtomicU64,
    words: [AtomicU64; 7],
}

impl Line {
    /// What it says; `None` if it was written meanwhile.
    #[inline]
    pub(super) fn read(&self) -> Option<Content> {
        let before = self.sequence.load(Ordering::Acquire);
        let words = self
            .words
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before.is_multiple_of(2)).then(|| Content::unpack(words))
    }

    pub(super) fn write(&self, content: &Content) {
        self.store(content.pack());
    }

    pub(super) fn clear(&self) {
        self.store([0; 7]);
    }

    fn store(&self, words: [u64; 7]) {
        let before = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, new) in self.words.iter().zip(words) {
            word.store(new, Ordering::Relaxed);
        }
        self.sequence
            .store(before.wrapping_add(2), Ordering::Release);
    }
}
