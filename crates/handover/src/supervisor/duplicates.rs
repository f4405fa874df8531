//! Listeners that one supervisor gives to another, which then serve on the same kernel objects.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use handover_proto::manifest::ListenerEntry;
use handover_sys::socket::describe;

use super::config::ListenerSpec;
use super::sockets::{Listeners, OpenListener};

/// A duplicate of a listener, and what it is to its service.
///
/// While one exists, what connects waits in the listener's queue, whether anybody accepts or not.
/// The path of a Unix socket stays where it is when a shared listener is closed.
#[derive(Debug)]
pub struct SharedListener {
    spec: ListenerSpec,
    entry: ListenerEntry,
    fd: OwnedFd,
}

impl AsFd for SharedListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl SharedListener {
    /// A listener that came from elsewhere. The address in force is the kernel's, not the sender's.
    ///
    /// # Errors
    /// It is not a bound socket, or the kernel does not say where; it is closed.
    pub fn new(spec: ListenerSpec, fd: OwnedFd) -> io::Result<Self> {
        let found = describe(&fd).map_err(io::Error::other)?;
        let address = found.local.ok_or_else(|| {
            let text = format!("listener {} is a socket without an address", spec.name);
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let entry = ListenerEntry {
            name: spec.name.clone(),
            kind: spec.kind,
            address,
        };
        Ok(Self { spec, entry, fd })
    }

    /// Another duplicate.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            spec: self.spec.clone(),
            entry: self.entry.clone(),
            fd: self.fd.try_clone()?,
        })
    }

    /// As it was configured.
    #[must_use]
    pub const fn spec(&self) -> &ListenerSpec {
        &self.spec
    }

    /// As it is bound.
    #[must_use]
    pub const fn entry(&self) -> &ListenerEntry {
        &self.entry
    }

    /// As it is bound, and the descriptor.
    #[must_use]
    pub fn into_parts(self) -> (ListenerEntry, OwnedFd) {
        (self.entry, self.fd)
    }

    pub(super) fn of(listener: &OpenListener) -> io::Result<Self> {
        let fd = listener.share()?;
        Ok(Self {
            spec: listener.spec.clone(),
            entry: listener.entry.clone(),
            fd,
        })
    }
}

/// As the supervisor holds them.
pub(super) fn opened(shared: Vec<SharedListener>) -> Listeners {
    let one = |SharedListener { spec, entry, fd }| OpenListener::borrowed(spec, entry, fd);
    shared.into_iter().map(one).map(Arc::new).collect()
}
