//! Counting connections by ownership: an [`Entry`] is one, dropping it is the decrement.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::sync::Notify;

use crate::drain::Tally;

/// Takes a lock whatever another thread did while it held it: the data behind the locks of this
/// crate is valid after every single statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The account of one instance.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    opened: AtomicU64,
    closed: AtomicU64,
    cut: AtomicU64,
    unread: AtomicU64,
    /// Everything open is to end now.
    forced: AtomicBool,
    /// Somebody waits for `emptied`.
    watched: AtomicBool,
    emptied: Notify,
    /// Who must be woken when everything is cut.
    live: Mutex<HashMap<u64, Arc<Wakers>>>,
}

/// The tasks that wait for one connection.
#[derive(Debug, Default)]
struct Wakers(Mutex<[Option<Waker>; 2]>);

/// The direction in which a task waits; each has at most one task, as with any `AsyncRead`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Read = 0,
    Write = 1,
}

impl Wakers {
    fn register(&self, side: Side, waker: &Waker) {
        let mut waiting = lock(&self.0);
        let [read, write] = &mut *waiting;
        let slot = match side {
            Side::Read => read,
            Side::Write => write,
        };
        if slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        let old = slot.replace(waker.clone());
        drop(waiting);
        // Outside the lock: it may be the last of a task, which then drops what it owns.
        drop(old);
    }

    fn wake(&self) {
        let waiting = std::mem::take(&mut *lock(&self.0));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Ledger {
    /// Opens the entry of a connection that was accepted just now.
    pub(crate) fn accept(self: &Arc<Self>) -> Entry {
        self.unread.fetch_add(1, Ordering::SeqCst);
        let entry = self.open();
        entry.read.store(false, Ordering::Relaxed);
        entry
    }

    /// Opens an entry.
    pub(crate) fn open(self: &Arc<Self>) -> Entry {
        // The total doubles as the key: it is never given twice.
        let key = self.opened.fetch_add(1, Ordering::SeqCst);
        let wakers = Arc::new(Wakers::default());
        lock(&self.live).insert(key, Arc::clone(&wakers));
        Entry {
            ledger: Arc::clone(self),
            key,
            wakers,
            read: AtomicBool::new(true),
        }
    }

    /// The totals. Never shows fewer open than there are.
    pub(crate) fn tally(&self) -> Tally {
        // Ends are read before beginnings: one that comes in between makes the count too high,
        // which the next look corrects, never too low.
        let cut = self.cut.load(Ordering::SeqCst);
        let closed = self.closed.load(Ordering::SeqCst);
        let unread = self.unread.load(Ordering::SeqCst);
        let opened = self.opened.load(Ordering::SeqCst);
        Tally {
            opened,
            closed,
            cut,
            unread,
        }
    }

    /// From now on [`Ledger::emptied`] is told when nothing is open any more, and when something was
    /// read of everything that is.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::SeqCst);
    }

    /// Resolves when the last entry was closed, or first read, since the previous call. Cancel safe.
    pub(crate) async fn emptied(&self) {
        self.emptied.notified().await;
    }

    /// Whether everything open is to end.
    pub(crate) fn is_forced(&self) -> bool {
        self.forced.load(Ordering::SeqCst)
    }

    /// Wakes the owners of everything open so that they find it cut.
    pub(crate) fn cut(&self) {
        self.forced.store(true, Ordering::SeqCst);
        let live: Vec<_> = lock(&self.live).values().cloned().collect();
        // Outside the lock: waking may drop a task, and with it an entry.
        live.iter().for_each(|wakers| wakers.wake());
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Entry {
    ledger: Arc<Ledger>,
    key: u64,
    wakers: Arc<Wakers>,
    /// Whether something was read, as far as that is counted.
    read: AtomicBool,
}

impl Entry {
    /// Something was read of the connection.
    pub(crate) fn was_read(&self) {
        // Looked at first: reads are many.
        if self.read.load(Ordering::Relaxed) || self.read.swap(true, Ordering::SeqCst) {
            return;
        }
        let ledger = &self.ledger;
        let last = ledger.unread.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && ledger.watched.load(Ordering::SeqCst) {
            ledger.emptied.notify_one();
        }
    }

    /// Whether it was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.ledger.is_forced()
    }

    /// Asks for the task to be woken when the entry is cut, and says whether it is already.
    pub(crate) fn cut_or_register(&self, side: Side, context: &Context<'_>) -> bool {
        self.wakers.register(side, context.waker());
        // After registering: a cut in between has either seen the waker or is seen here.
        self.is_cut()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.was_read();
        let ledger = &self.ledger;
        lock(&ledger.live).remove(&self.key);
        if ledger.is_forced() {
            ledger.cut.fetch_add(1, Ordering::SeqCst);
        }
        ledger.closed.fetch_add(1, Ordering::SeqCst);
        if ledger.watched.load(Ordering::SeqCst) && ledger.tally().open() == 0 {
            ledger.emptied.notify_one();
        }
    }
}
