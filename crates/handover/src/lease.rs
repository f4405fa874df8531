//! The right to write: a kernel lock on the data directory, an epoch that grows with each owner,
//! and a gate in the process that writers pass (I1, I2).
//!
//! A service gets a [`Lease`] when it is activated and asks it for a [`Permit`] before each write.
//! An owner that is no service (a migration, a repair tool) takes the same lock with a
//! [`LeaseFile`], and by that keeps every instance out.
//!
//! # What the lock does and does not do
//! - The kernel's `flock` on `.handover.lock` decides. It ends with the process that has it, however
//!   that ends, and is never broken while somebody holds it.
//! - It binds those who ask for it. A program that writes without asking is not kept from it; let
//!   the epoch go with what is written where the other side can compare it.
//! - Nobody may remove the file while somebody serves: the next one would lock another file.
//! - Network filesystems are refused. FUSE and unknown ones too, unless they are trusted
//!   explicitly.
//! - A child that was forked (not spawned) by an owner which is then killed has a copy of the
//!   descriptor, and with it the lock, until it ends; the message about a directory in use names
//!   it.
//!
//! # Epochs
//! Each owner gets the last epoch + 1, also after restarts. So that no disk has to be waited for in
//! a handover, they are reserved on the disk 1,024 at a time; after a restart of the machine the
//! next owner starts above all that were reserved, so that there are gaps and never a repetition.

mod error;
mod file;
mod gate;
mod handoff;
mod holder;
mod options;
mod ownership;
mod slot;

use std::sync::Arc;

pub use error::{LeaseError, LeaseFileError};
pub use file::{Attempt, LOCK_FILE, LeaseFile, RESERVED_AT_ONCE};
pub use gate::Permit;
pub use handover_proto::identity::Epoch;
pub use holder::{Holder, Standing};
pub use options::Options;

pub(crate) use gate::Gate;
pub(crate) use ownership::Ownership;

/// The right to write, as the writers of one instance see it: a handle, cheap to clone.
///
/// It says nothing for longer than a [`Permit`] lives: ask for one before each write.
#[derive(Clone, Debug)]
pub struct Lease {
    gate: Arc<Gate>,
}

impl Lease {
    /// The latest epoch this instance has held; grows when it takes the lease again.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.gate.latest()
    }

    /// Whether this instance owns the data directory at this moment, also while writers wait for a
    /// handover that may yet be aborted. For people and health checks; to write, ask for a permit.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(
            self.gate.standing(),
            gate::Standing::Open(_) | gate::Standing::Frozen(_)
        )
    }

    /// Waits for the right to write: no time in normal service, and during a handover until it is
    /// decided. Cancel safe: dropping the future leaves no trace.
    ///
    /// # Errors
    /// [`LeaseError::HandedOver`]: another instance writes.
    pub async fn enter(&self) -> Result<Permit, LeaseError> {
        self.gate.enter().await
    }

    /// The right to write, if it can be had at once.
    ///
    /// # Errors
    /// [`LeaseError::Frozen`] while a handover is under way, [`LeaseError::HandedOver`] after it.
    pub fn try_enter(&self) -> Result<Permit, LeaseError> {
        self.gate.try_enter()
    }

    /// [`Lease::enter`] for threads: blocks the calling one. Not for async code.
    ///
    /// # Errors
    /// [`LeaseError::HandedOver`]: another instance writes.
    pub fn enter_blocking(&self) -> Result<Permit, LeaseError> {
        self.gate.enter_blocking()
    }
}
