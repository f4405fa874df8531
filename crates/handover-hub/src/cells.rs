//! The processes on this node, by id.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use handover_hub_proto::identity::ProcessId;

use crate::cell::Cell;

/// Parts of the map, each under its own lock: callers of different processes do not wait.
const PARTS: usize = 64;

type Part = HashMap<ProcessId, Arc<Cell>, foldhash::fast::RandomState>;

/// The cells of a node. Only the driver adds and removes; anybody looks.
pub(crate) struct Cells {
    parts: Vec<Mutex<Part>>,
    hasher: foldhash::fast::RandomState,
}

impl Cells {
    pub(crate) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }

    pub(crate) fn get(&self, id: &ProcessId) -> Option<Arc<Cell>> {
        self.part(id).get(id).cloned()
    }

    pub(crate) fn put(&self, cell: Arc<Cell>) {
        let id = cell.id().clone();
        self.part(&id).insert(id, cell);
    }

    /// Removes this very cell, not one that took its place.
    pub(crate) fn remove(&self, cell: &Arc<Cell>) {
        let mut part = self.part(cell.id());
        if part
            .get(cell.id())
            .is_some_and(|found| Arc::ptr_eq(found, cell))
        {
            part.remove(cell.id());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).len()).sum()
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

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}
