//! Descriptors the runtime waits for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits for readability of a value that owns its descriptor, which `AsFd` says it does.
///
/// # Errors
/// The descriptor cannot be polled, or the runtime is out of resources.
#[allow(
    deprecated,
    reason = "its replacement is unsafe for types that do not own a descriptor; \
                              the bound on AsFd is the proof it asks for"
)]
pub(crate) fn readable<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, Interest::READABLE)
}
