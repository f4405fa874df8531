//! State that is in memory only: who has visited how often.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Inner {
    /// Count, and the revision of its last change.
    counts: BTreeMap<String, (u64, u64)>,
    revision: u64,
}

/// Counts by name. Each change has a revision, so that what changed since a snapshot can be told.
#[derive(Default)]
pub(crate) struct Visits(Mutex<Inner>);

impl Visits {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change is one insertion: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more; how many there were, with it.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let mut inner = self.lock();
        inner.revision += 1;
        let revision = inner.revision;
        let entry = inner.counts.entry(name.to_owned()).or_default();
        *entry = (entry.0 + 1, revision);
        entry.0
    }

    /// What changed after this revision, and the revision now. After 0 is everything.
    pub(crate) fn since(&self, revision: u64) -> (Vec<(String, u64)>, u64) {
        let inner = self.lock();
        let changed = inner.counts.iter().filter(|(_, (_, at))| *at > revision);
        let changed = changed.map(|(name, (count, _))| (name.clone(), *count));
        (changed.collect(), inner.revision)
    }

    /// Takes counts over from a predecessor.
    pub(crate) fn restore(&self, counts: Vec<(String, u64)>) {
        let mut inner = self.lock();
        for (name, count) in counts {
            inner.revision += 1;
            let revision = inner.revision;
            inner.counts.insert(name, (count, revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Visits;

    #[test]
    fn a_snapshot_and_what_changed_since_are_everything() {
        let old = Visits::default();
        old.count("ann");
        old.count("bob");
        let (base, revision) = old.since(0);
        old.count("bob");
        old.count("cas");
        let (delta, _) = old.since(revision);
        assert_eq!(delta, [("bob".into(), 2), ("cas".into(), 1)]);

        let new = Visits::default();
        new.restore(base);
        new.restore(delta);
        assert_eq!(new.since(0).0, old.since(0).0);
        assert_eq!(new.count("bob"), 3);
    }
}
