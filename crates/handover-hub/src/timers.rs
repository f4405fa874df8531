//! One clock for all processes of a node: a timer costs an entry in a heap, no task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cell::Cell;
use crate::hub::Shared;

/// The number under which a checkpoint is due; no message has it.
pub(crate) const CHECKPOINT: u64 = 0;

/// What is due when.
pub(crate) struct Timers {
    next: AtomicU64,
    heap: Mutex<BinaryHeap<Reverse<Entry>>>,
    sooner: Notify,
}

struct Entry {
    at: Instant,
    number: u64,
    cell: Weak<Cell>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(CHECKPOINT + 1),
            heap: Mutex::default(),
            sooner: Notify::new(),
        }
    }

    /// A number of its own for a message.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn add(&self, at: Instant, cell: &Arc<Cell>, number: u64) {
        let mut heap = self.lock();
        let first = heap.peek().is_none_or(|Reverse(first)| at < first.at);
        let cell = Arc::downgrade(cell);
        heap.push(Reverse(Entry { at, number, cell }));
        drop(heap);
        if first {
            self.sooner.notify_one();
        }
    }

    fn take_due(&self, now: Instant) -> Vec<Entry> {
        let mut heap = self.lock();
        let mut due = Vec::new();
        while heap.peek().is_some_and(|Reverse(first)| first.at <= now) {
            due.extend(heap.pop().map(|Reverse(entry)| entry));
        }
        due
    }

    fn first(&self) -> Option<Instant> {
        self.lock().peek().map(|Reverse(first)| first.at)
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Entry>>> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells cells what is due. To be spawned; ends with its task.
pub(crate) async fn tick(shared: Arc<Shared>) {
    let timers = &shared.timers;
    loop {
        let sooner = timers.sooner.notified();
        match timers.first() {
            Some(at) => tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = sooner => {}
            },
            None => sooner.await,
        }
        for entry in timers.take_due(Instant::now()) {
            if let Some(cell) = entry.cell.upgrade() {
                cell.due(&shared, entry.number);
            }
        }
    }
}
