//! What can go wrong with a lease, one variant per cause.

use std::io;
use std::path::PathBuf;

use handover_sys::filesystem::Filesystem;

use super::file::LOCK_FILE;
use super::holder::Holder;

/// Why there is no permit to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// A handover is under way. Whoever asks with [`Lease::enter`](super::Lease::enter) waits for
    /// its end instead.
    #[error(
        "writing is suspended while the right to write is handed over; wait with `enter`, or let \
         the client try again in a moment"
    )]
    Frozen,
    /// Another instance writes now, or this one is going.
    #[error(
        "this instance has given up the right to write; send the request to the new one, at the \
         same address"
    )]
    HandedOver,
}

/// Why a data directory could not be owned. It is not locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseFileError {
    /// It is not there, or may not be read.
    #[error("the data directory {} cannot be opened: {source}; create it, or mount what it is on",
        .dir.display())]
    Directory {
        /// The data directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a file.
    #[error("{} is not a directory; name the directory that holds the data", .dir.display())]
    NotADirectory {
        /// What should be the data directory.
        dir: PathBuf,
    },
    /// It is on a network filesystem, where a lock does not keep other hosts out.
    #[error(
        "the data directory {} is on {found}, a network filesystem: a lock there does not \
         reliably keep other hosts out, so two owners would be possible; move it to a local disk",
        .dir.display()
    )]
    Network {
        /// The data directory.
        dir: PathBuf,
        /// The filesystem.
        found: &'static str,
    },
    /// It is on a filesystem that may or may not keep locks.
    #[error(
        "the data directory {} is on {found}, where it is not known that a lock keeps others out; \
         move it to a local disk, or, if nothing but this host opens it, trust the filesystem \
         explicitly",
        .dir.display()
    )]
    Untrusted {
        /// The data directory.
        dir: PathBuf,
        /// The filesystem.
        found: Filesystem,
    },
    /// Somebody owns it.
    #[error("the data directory {} is in use: {holder}", .dir.display())]
    Held {
        /// The data directory.
        dir: PathBuf,
        /// Who has it.
        holder: Box<Holder>,
    },
    /// Neither record can be read, so the last epoch is not known.
    #[error(
        "{} is damaged: neither of its two records is whole, so the last epoch is not known; \
         restore the file from a backup, or, if nothing compares epochs, remove it while nobody \
         serves",
        .path.display()
    )]
    Damaged {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file was removed again and again while it was being locked.
    #[error(
        "{} is replaced again and again by somebody; find out who removes {LOCK_FILE}, which must \
         stay",
        .path.display()
    )]
    Replaced {
        /// The lock file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{} cannot be {what}: {source}; check the disk and the rights of this user",
        .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}
