//! The lock and the gate as one value, so that neither is moved without the other.

use std::sync::Arc;

use handover_proto::identity::Epoch;

use super::file::{Attempt, LeaseFile};
use super::gate::{Gate, StillWriting};
use super::{Lease, LeaseFileError};

/// Why the lease was not given up. It is held (I3).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// Writers are left.
    #[error(transparent)]
    StillWriting(#[from] StillWriting),
    /// The kernel refused.
    #[error(transparent)]
    File(#[from] LeaseFileError),
}

/// An instance's side of the lease: takes and gives up the lock, opens and shuts the gate.
///
/// The order is what I1 and I2 rest on: the gate opens only with an epoch that the lock gave, and
/// the lock is released only when the gate has been shut and nobody is behind it.
#[derive(Debug)]
pub(crate) struct Ownership {
    file: LeaseFile,
    gate: Arc<Gate>,
}

impl Ownership {
    pub(crate) fn new(file: LeaseFile) -> Self {
        Self {
            file,
            gate: Gate::new(),
        }
    }

    /// The writers' handle. There may be any number.
    pub(crate) fn lease(&self) -> Lease {
        Lease {
            gate: Arc::clone(&self.gate),
        }
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// The epoch whose lock is held.
    pub(crate) fn held(&self) -> Option<Epoch> {
        self.file.held()
    }

    /// Tries to take the lock; the gate stays as it is. See [`LeaseFile::try_acquire`].
    pub(crate) fn try_acquire(&mut self) -> Result<Attempt, LeaseFileError> {
        self.file.try_acquire()
    }

    /// The error that says who has the lock.
    pub(crate) fn busy(&self) -> LeaseFileError {
        self.file.busy()
    }

    /// Makes the lock's epoch the one that the lease shows, if the lock is held; writers wait.
    pub(crate) fn hold(&self) {
        if let Some(epoch) = self.held() {
            self.gate.hold(epoch);
        }
    }

    /// Lets writers pass, if the lock is held; otherwise nothing (I2).
    pub(crate) fn open(&self) {
        if let Some(epoch) = self.held() {
            self.gate.open(epoch);
        }
    }

    /// New writers wait. See [`Gate::freeze`].
    pub(crate) fn freeze(&self) {
        self.gate.freeze();
    }

    /// Shuts the gate and gives the lock up, if nobody writes (I1, I2). Nothing if it is not held.
    pub(crate) fn release(&mut self) -> Result<(), ReleaseError> {
        self.gate.close()?;
        Ok(self.file.release()?)
    }

    /// Shuts the gate and keeps the lock until the process ends: something may still write (I2).
    pub(crate) fn keep_until_exit(&mut self) {
        self.gate.hand_over();
        self.file.keep_until_exit();
    }

    /// Sends writers away, those that wait included.
    pub(crate) fn hand_over(&self) {
        self.gate.hand_over();
    }

    /// See [`LeaseFile::reserve`].
    pub(crate) fn reserve(&mut self) -> Result<(), LeaseFileError> {
        self.file.reserve()
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        let quiet = self.gate.close();
        self.gate.hand_over();
        if let Err(error) = quiet {
            tracing::warn!(%error, "the data directory stays locked until this process ends");
            self.file.keep_until_exit();
        }
    }
}
