//! Clients that increment all the time, and what they were told.

use super::counter::{Ask, Counter, id};
use handover_hub::Hub;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;

/// Between two calls of a client: a busy hub, not a saturated machine.
const THINK: Duration = Duration::from_millis(4);

/// What clients know of each counter.
#[derive(Debug)]
pub(super) struct Ledger {
    counters: Vec<Entry>,
}

/// What clients know of one counter.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Increments that were acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// Increments that may have been made: their calls failed.
    pub(super) unknown: AtomicU64,
}

impl Ledger {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.counters.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn entry(&self, number: u32) -> &Entry {
        &self.counters[number as usize]
    }
}

/// The calls of a phase.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Calls {
    pub(super) count: u64,
    pub(super) failed: u64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) longest_ns: u64,
    /// What the first that failed was told.
    pub(super) reason: Option<String>,
}

#[derive(Debug, Default)]
struct Taken {
    nanos: Vec<u64>,
    failed: u64,
    reason: Option<String>,
}

struct Inner {
    hub: Hub,
    ledger: Ledger,
    /// Held by every call, and alone by whoever counts.
    gate: RwLock<()>,
    taken: Mutex<Taken>,
    stop: AtomicBool,
}

/// Clients at work.
pub(super) struct Load {
    inner: Arc<Inner>,
    clients: JoinSet<()>,
}

impl Load {
    pub(super) fn begin(hub: Hub, processes: u32, clients: u32) -> Self {
        let counters = (0..processes).map(|_| Entry::default()).collect();
        let inner = Arc::new(Inner {
            hub,
            ledger: Ledger { counters },
            gate: RwLock::new(()),
            taken: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut set = JoinSet::new();
        for client in 0..clients {
            set.spawn(call(Arc::clone(&inner), u64::from(client)));
        }
        Self {
            inner,
            clients: set,
        }
    }

    /// Waits for the calls under way; none is made while what is returned lives.
    pub(super) async fn pause(&self) -> Pause<'_> {
        Pause {
            _alone: self.inner.gate.write().await,
            inner: &self.inner,
        }
    }

    pub(super) async fn end(mut self) {
        self.inner.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
    }
}

/// No call is under way.
pub(super) struct Pause<'a> {
    inner: &'a Inner,
    _alone: RwLockWriteGuard<'a, ()>,
}

impl Pause<'_> {
    pub(super) fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// The calls since this was last asked.
    pub(super) fn calls(&self) -> Calls {
        let mut taken = self.inner.taken();
        let Taken {
            mut nanos,
            failed,
            reason,
        } = std::mem::take(&mut *taken);
        drop(taken);
        nanos.sort_unstable();
        Calls {
            count: nanos.len() as u64,
            failed,
            p50_ns: quantile(&nanos, 50),
            p99_ns: quantile(&nanos, 99),
            longest_ns: nanos.last().copied().unwrap_or(0),
            reason,
        }
    }
}

impl Inner {
    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value below which so many of a hundred are; of sorted values.
pub(super) fn quantile(sorted: &[u64], percent: usize) -> u64 {
    let index = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(index).copied().unwrap_or(0)
}

async fn call(inner: Arc<Inner>, client: u64) {
    // Marsaglia's xorshift: spread, not secret; the same in each run.
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ (client + 1);
    while !inner.stop.load(Ordering::Relaxed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let counters = u64::from(inner.ledger.len()).max(1);
        let number = u32::try_from(random % counters).unwrap_or(0);
        {
            let _calling = inner.gate.read().await;
            let begun = Instant::now();
            let called = inner.hub.call::<Counter>(&id(number), Ask::Add).await;
            let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            let entry = inner.ledger.entry(number);
            let mut taken = inner.taken();
            taken.nanos.push(nanos);
            match called {
                Ok(_) => entry.acknowledged.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    taken.failed += 1;
                    taken.reason.get_or_insert_with(|| error.to_string());
                    entry.unknown.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
        tokio::time::sleep(THINK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&values, 50), 50);
        assert_eq!(quantile(&values, 99), 99);
        assert_eq!(quantile(&values, 100), 100);
        assert_eq!(quantile(&[7], 99), 7);
        assert_eq!(quantile(&[], 99), 0);
    }
}
