//! The processes on this node, by id.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handover_hub_proto::identity::ProcessId;
use tokio::time::Instant;

use crate::cell::Cell;

/// How long a node that a process left tells those who still ask where it is.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Parts of the map, each under its own lock: callers of different processes do not wait.
const PARTS: usize = 64;

type Part = HashMap<ProcessId, Arc<Cell>, foldhash::fast::RandomState>;

/// The cells of a node. Only the driver, and cells that are over, add and remove; anybody looks.
pub(crate) struct Cells {
    parts: Vec<Mutex<Part>>,
    /// Those that moved away, in the order in which they are forgotten.
    retired: Mutex<VecDeque<(Instant, Arc<Cell>)>>,
    /// How many of those have come back: their place in the map is another cell's.
    returned: AtomicUsize,
    hasher: foldhash::fast::RandomState,
}

impl Cells {
    pub(crate) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            retired: Mutex::default(),
            returned: AtomicUsize::new(0),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    pub(crate) fn get(&self, id: &ProcessId) -> Option<Arc<Cell>> {
        self.part(id).get(id).cloned()
    }

    pub(crate) fn put(&self, cell: Arc<Cell>) {
        let id = cell.id().clone();
        // One that ended is no longer in the map, so this one moved away before.
        if self.part(&id).insert(id.clone(), cell).is_some() {
            self.returned.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One ended: the next one takes its place, if there is one.
    pub(crate) fn leave(&self, cell: &Arc<Cell>, next: Option<&Arc<Cell>>) {
        let mut part = self.part(cell.id());
        let found = part.get_mut(cell.id());
        let Some(found) = found.filter(|found| Arc::ptr_eq(found, cell)) else {
            return;
        };
        match next {
            Some(next) => *found = Arc::clone(next),
            None => drop(part.remove(cell.id())),
        }
    }

    /// The one of a process that is not over.
    pub(crate) fn present(&self, id: &ProcessId) -> Option<Arc<Cell>> {
        loop {
            let cell = self.get(id)?;
            if !cell.is_over() {
                return Some(cell);
            }
            // One that became over just now may have been followed by another.
            if self.get(id).is_some_and(|now| Arc::ptr_eq(&now, &cell)) {
                return None;
            }
        }
    }

    /// Removes this very cell, not one that took its place; whether it was there.
    fn remove(&self, cell: &Arc<Cell>) -> bool {
        let mut part = self.part(cell.id());
        let found = part.get(cell.id());
        let is_here = found.is_some_and(|found| Arc::ptr_eq(found, cell));
        if is_here {
            part.remove(cell.id());
        }
        is_here
    }

    /// One moved away: it is kept for a while, to say where to.
    pub(crate) fn retired(&self, cell: &Arc<Cell>) {
        let until = Instant::now() + REMEMBERED;
        lock(&self.retired).push_back((until, Arc::clone(cell)));
    }

    /// Forgets those that moved away long ago.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut old = Vec::new();
        let mut retired = lock(&self.retired);
        while retired.front().is_some_and(|(until, _)| *until <= now) {
            old.extend(retired.pop_front());
        }
        drop(retired);
        for (_, cell) in old {
            if !self.remove(&cell) {
                self.returned.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Processes that are here.
    pub(crate) fn len(&self) -> usize {
        let all: usize = self.parts.iter().map(|part| lock(part).len()).sum();
        let away = lock(&self.retired).len();
        all.saturating_sub(away.saturating_sub(self.returned.load(Ordering::Relaxed)))
    }

    /// Messages that wait for any of them.
    pub(crate) fn waiting(&self) -> usize {
        let mut waiting = 0;
        for part in &self.parts {
            // Nobody who comes to this part waits for a process.
            let cells: Vec<_> = lock(part).values().cloned().collect();
            waiting += cells.iter().map(|cell| cell.waiting()).sum::<usize>();
        }
        waiting
    }

    /// All of them as they are now.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        let mut cells = Vec::with_capacity(self.len());
        for part in &self.parts {
            cells.extend(lock(part).values().cloned());
        }
        cells
    }

    pub(crate) fn clear(&self) {
        for part in &self.parts {
            let cells = std::mem::take(&mut *lock(part));
            // Outside of the lock: a process may do anything when it is dropped.
            drop(cells);
        }
    }

    fn part(&self, id: &ProcessId) -> MutexGuard<'_, Part> {
        let hash = usize::try_from(self.hasher.hash_one(id)).unwrap_or_default();
        lock(&self.parts[hash % PARTS])
    }
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
