//! What will happen, in order of its time; what was put in first happens first at the same time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Nanoseconds since the simulation began.
pub type Time = u64;

/// One millisecond.
pub const MILLISECOND: Time = 1_000_000;

/// One second.
pub const SECOND: Time = 1_000 * MILLISECOND;

#[derive(Debug)]
struct Entry<E> {
    when: Time,
    count: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.when, other.count).cmp(&(self.when, self.count))
    }
}

/// The virtual clock and all that waits for it.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Entry<E>>,
    count: u64,
    now: Time,
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            count: 0,
            now: 0,
        }
    }
}

impl<E> Agenda<E> {
    /// The time it is.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Something happens then, or at once if that is past.
    pub fn at(&mut self, when: Time, event: E) {
        self.count += 1;
        let (when, count) = (when.max(self.now), self.count);
        self.heap.push(Entry { when, count, event });
    }

    /// Something happens after that time.
    pub fn after(&mut self, pause: Time, event: E) {
        self.at(self.now + pause, event);
    }

    /// The next that happens, not later than `end`; the clock goes there.
    pub fn next(&mut self, end: Time) -> Option<E> {
        if self.heap.peek().is_none_or(|entry| entry.when > end) {
            self.now = self.now.max(end);
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.when;
        Some(entry.event)
    }
}
