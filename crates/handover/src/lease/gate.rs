//! The gate in front of everything that writes: open while the lease is held, shut before it is
//! given up (I2).
//!
//! A permit is counted by ownership. The lease can be given up only through [`Gate::close`], which
//! refuses while a permit is left: so whoever holds one writes under a lease that is held.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use handover_proto::identity::Epoch;
use tokio::sync::Notify;

use super::LeaseError;

/// Whether writers may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The lease is not held, or not yet opened for writing; writers wait.
    Closed,
    /// The lease is held: writers pass.
    Open(Epoch),
    /// The lease is held, but is about to be given up: writers wait.
    Frozen(Epoch),
    /// Somebody else has it, or will: writers are sent away.
    HandedOver,
}

/// Somebody still writes: the lease must not be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{permits} writes are still under way; wait until their permits are dropped, or resume and \
     keep the lease"
)]
pub(crate) struct StillWriting {
    /// How many permits are left.
    pub(crate) permits: usize,
}

#[derive(Debug)]
struct Inner {
    standing: Standing,
    permits: usize,
    /// The last epoch it was opened with.
    latest: Epoch,
}

/// One per instance; [`Lease`](super::Lease) is its writers' side.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Mutex<Inner>,
    /// For threads and for tasks: something changed that somebody may wait for.
    turned: Condvar,
    notify: Notify,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                standing: Standing::Closed,
                permits: 0,
                latest: Epoch::default(),
            }),
            turned: Condvar::new(),
            notify: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is one assignment, so what a panic leaves is valid.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.turned.notify_all();
        self.notify.notify_waiters();
    }

    pub(crate) fn standing(&self) -> Standing {
        self.lock().standing
    }

    pub(crate) fn latest(&self) -> Epoch {
        self.lock().latest
    }

    /// How many permits are out.
    pub(crate) fn permits(&self) -> usize {
        self.lock().permits
    }

    /// Lets writers pass under `epoch`, which the caller holds the lock for. An epoch lower than an
    /// earlier one changes nothing: it cannot be ours (I2).
    pub(crate) fn open(&self, epoch: Epoch) {
        let mut inner = self.lock();
        if epoch < inner.latest {
            tracing::error!(%epoch, latest = %inner.latest, "a lower epoch is not opened");
            return;
        }
        inner.standing = Standing::Open(epoch);
        inner.latest = epoch;
        drop(inner);
        self.wake();
    }

    /// The lock is held under `epoch`, and writers wait until it is opened.
    pub(crate) fn hold(&self, epoch: Epoch) {
        let mut inner = self.lock();
        inner.standing = Standing::Frozen(epoch);
        inner.latest = inner.latest.max(epoch);
    }

    /// Whether writers pass.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.lock().standing, Standing::Open(_))
    }

    /// From now on writers wait; those with a permit go on. Nothing if it is not open.
    pub(crate) fn freeze(&self) {
        let mut inner = self.lock();
        if let Standing::Open(epoch) = inner.standing {
            inner.standing = Standing::Frozen(epoch);
        }
    }

    /// Nobody writes any more, and nobody will: the lock may be given up (I2, I3).
    ///
    /// # Errors
    /// Permits are left; the gate is frozen, and the lock must be kept.
    pub(crate) fn close(&self) -> Result<(), StillWriting> {
        let mut inner = self.lock();
        if let Standing::Open(epoch) = inner.standing {
            inner.standing = Standing::Frozen(epoch);
        }
        if inner.permits > 0 {
            let permits = inner.permits;
            return Err(StillWriting { permits });
        }
        if let Standing::Frozen(_) = inner.standing {
            inner.standing = Standing::Closed;
        }
        Ok(())
    }

    /// Whoever waits is sent away, until it is opened again (a take-back).
    pub(crate) fn hand_over(&self) {
        self.lock().standing = Standing::HandedOver;
        self.wake();
    }

    /// Resolves when no permit is out. Cancel safe. Freeze first, or new ones follow.
    pub(crate) async fn emptied(&self) {
        self.until(|inner| (inner.permits == 0).then_some(())).await;
    }

    /// One writer in. `None`: it has to wait.
    fn admit(inner: &mut Inner) -> Option<Result<Epoch, LeaseError>> {
        match inner.standing {
            Standing::Open(epoch) => {
                inner.permits += 1;
                Some(Ok(epoch))
            }
            Standing::HandedOver => Some(Err(LeaseError::HandedOver)),
            Standing::Closed | Standing::Frozen(_) => None,
        }
    }

    fn permit(self: &Arc<Self>, admitted: Result<Epoch, LeaseError>) -> Result<Permit, LeaseError> {
        admitted.map(|epoch| Permit {
            gate: Arc::clone(self),
            epoch,
        })
    }

    pub(crate) async fn enter(self: &Arc<Self>) -> Result<Permit, LeaseError> {
        // The count goes up when the future completes and the permit is made in the same poll: a
        // future that is dropped never leaves a count without its permit.
        let admitted = self.until(Self::admit).await;
        self.permit(admitted)
    }

    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Permit, LeaseError> {
        let admitted = Self::admit(&mut self.lock());
        self.permit(admitted.unwrap_or(Err(LeaseError::Frozen)))
    }

    pub(crate) fn enter_blocking(self: &Arc<Self>) -> Result<Permit, LeaseError> {
        let mut inner = self.lock();
        loop {
            if let Some(admitted) = Self::admit(&mut inner) {
                drop(inner);
                return self.permit(admitted);
            }
            let waited = self.turned.wait(inner);
            inner = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Resolves with the first answer that `look` gives.
    async fn until<T>(&self, mut look: impl FnMut(&mut Inner) -> Option<T>) -> T {
        // The short way for the usual case, without registering as a waiter.
        if let Some(found) = look(&mut self.lock()) {
            return found;
        }
        loop {
            let mut notified = std::pin::pin!(self.notify.notified());
            // Registered before the look, so that no turn in between is missed.
            notified.as_mut().enable();
            if let Some(found) = look(&mut self.lock()) {
                return found;
            }
            notified.await;
        }
    }

    fn leave(&self) {
        let mut inner = self.lock();
        inner.permits -= 1;
        // In normal service nobody waits for the last one.
        let waited_for = inner.permits == 0 && !matches!(inner.standing, Standing::Open(_));
        drop(inner);
        if waited_for {
            self.wake();
        }
    }
}

/// The right to write until it is dropped.
///
/// While it lives the lease is not given up (I2): a handover waits for it, and is aborted if it
/// waits too long. So hold it for one write, not for a connection or a cache. It keeps nothing
/// else open.
#[derive(Debug)]
#[must_use = "writing is allowed only as long as the permit lives"]
pub struct Permit {
    gate: Arc<Gate>,
    epoch: Epoch,
}

impl Permit {
    /// The epoch of the lease it was given under; the same as long as it lives. Store it with what
    /// is written elsewhere, so that the other side can refuse a lower one.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

#[cfg(test)]
mod tests;
