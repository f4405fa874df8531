//! What can go wrong with state, one variant per cause.

use std::io;
use std::time::Duration;

use handover_sys::memfd::{SealError, UnsealedError};

/// Why an item could not be written or read. Of a hook that returns it: what the hook's own error
/// means, see [`Service`](crate::Service).
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// An item that the manifest does not list.
    #[error(
        "item {name:?} is not in the manifest of this service; list it in `Service::manifest`, so \
         that both versions can agree on it before anything is given up"
    )]
    Unlisted {
        /// Its name.
        name: String,
    },
    /// The same item a second time in one base or one seal.
    #[error("item {name:?} was written already; write each item once in `base` and once in `seal`")]
    Twice {
        /// Its name.
        name: String,
    },
    /// More bytes than allowed.
    #[error(
        "item {name:?} brings the state to {found} bytes, but {allowed} are allowed; raise \
         `Builder::state_budget` of this instance, or write less"
    )]
    TooMuch {
        /// Its name.
        name: String,
        /// The budget in bytes.
        allowed: u64,
        /// What base and delta together would have.
        found: u64,
    },
    /// The seal took longer than allowed.
    #[error(
        "the seal did not get its state to the successor within {allowed:?}; raise the time of \
         `Builder::state_budget`, or write more of it in `Service::base`, before the seal"
    )]
    TooLate {
        /// The budget of time.
        allowed: Duration,
    },
    /// Required items that nobody wrote.
    #[error("required items were not written: {}; write them in `base` or `seal`", names.join(", "))]
    Missing {
        /// Their names.
        names: Vec<String>,
    },
    /// A stream that was dropped before its end.
    #[error("the stream of item {name:?} was not finished; call `StreamWriter::finish`")]
    Unfinished {
        /// The item.
        name: String,
    },
    /// Memory could not be had or written.
    #[error("the memory of item {name:?}: {source}")]
    Memory {
        /// The item.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Memory could not be made unchangeable.
    #[error("item {name:?}: {source}")]
    Seal {
        /// The item.
        name: String,
        /// Why.
        source: SealError,
    },
    /// The descriptor that arrived for an item is no sealed memory.
    #[error("item {name:?}: {source}")]
    Unsealed {
        /// The item.
        name: String,
        /// Why.
        source: UnsealedError,
    },
    /// The memory that arrived has another length than announced.
    #[error("item {name:?} was announced with {expected} bytes, but its memory has {found}")]
    Length {
        /// The item.
        name: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The content is not what was written.
    #[error(
        "item {name:?} is damaged: checksum {expected:016x} expected, {found:016x} found; \
         this is a fault of memory or of the program that wrote it"
    )]
    Damaged {
        /// The item.
        name: String,
        /// The writer's checksum.
        expected: u64,
        /// Ours.
        found: u64,
    },
    /// A value could not be turned into bytes, or back.
    #[error(
        "item {name:?} is not a value of the type asked for: {source}; a changed type needs a new \
         version in the manifest"
    )]
    Value {
        /// The item.
        name: String,
        /// Why.
        source: postcard::Error,
    },
    /// The other instance is gone, or broke off.
    #[error("the state channel to the other instance: {reason}")]
    Channel {
        /// What happened.
        reason: String,
    },
}
