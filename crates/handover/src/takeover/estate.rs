//! What a successor gets: a copy of every listener, held beside the program's own, which a drain
//! closes when it likes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_proto::takeover::{MAX_LISTENERS, Passed};
use handover_sys::socket;

use super::ask::kind_of;
use crate::ledger::lock;

/// A listener and what is said of it.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) passed: Passed,
    pub(super) fd: OwnedFd,
}

/// Every listener, by name.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    /// None once the listeners are closed for good.
    content: Mutex<Option<Vec<Holding>>>,
    /// Whether the other side of a handover holds them too.
    granted: Arc<AtomicBool>,
    /// Names of those that somebody outside the service holds.
    held: Vec<String>,
}

/// Whether another process holds a listener of ours too, so that what waits in its queue is not
/// lost when we close it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    outside: bool,
    successor: Arc<AtomicBool>,
}

impl Shared {
    /// As it was inherited, where no successor can come.
    pub(crate) fn always(shared: bool) -> Self {
        Self {
            outside: shared,
            successor: Arc::default(),
        }
    }

    /// Whether it is so now.
    pub(crate) fn now(&self) -> bool {
        self.outside || self.successor.load(Ordering::Acquire)
    }
}

impl Estate {
    pub(super) fn new(held: Vec<String>) -> Self {
        Self {
            content: Mutex::new(Some(Vec::new())),
            granted: Arc::default(),
            held,
        }
    }

    fn is_held(&self, name: &str) -> bool {
        self.held.iter().any(|held| held == name)
    }

    /// Who else holds the listener `name`.
    pub(crate) fn shared(&self, name: &str) -> Shared {
        Shared {
            outside: self.is_held(name),
            successor: Arc::clone(&self.granted),
        }
    }

    /// Keeps a copy of a listener that was opened as `name`. `shown`: where it is, when the kernel
    /// remembers another place.
    pub(crate) fn keep(&self, name: &str, fd: BorrowedFd<'_>, shown: Option<String>) {
        let holding = match self.describe(name, fd, shown) {
            Ok(holding) => holding,
            Err(error) => {
                tracing::warn!(name, %error, "this listener will not be passed on to a successor");
                return;
            }
        };
        let mut content = lock(&self.content);
        let Some(content) = &mut *content else { return };
        content.retain(|older| older.passed.listener.name != name);
        if content.len() >= MAX_LISTENERS {
            tracing::warn!(
                name,
                most = MAX_LISTENERS,
                "too many listeners to pass them all on"
            );
            return;
        }
        content.push(holding);
    }

    fn describe(
        &self,
        name: &str,
        fd: BorrowedFd<'_>,
        shown: Option<String>,
    ) -> io::Result<Holding> {
        let facts = socket::describe(fd).map_err(io::Error::other)?;
        let kind = kind_of(&facts)
            .ok_or_else(|| io::Error::other("only TCP, UDP and Unix stream listeners cross"))?;
        Ok(Holding {
            passed: Passed {
                listener: ListenerEntry {
                    name: name.to_owned(),
                    kind,
                    address: shown.or(facts.local).unwrap_or_default(),
                },
                held: self.is_held(name),
            },
            fd: fd.try_clone_to_owned()?,
        })
    }

    /// A copy of everything, to be given; `None` once it is closed.
    pub(super) fn copy(&self) -> io::Result<Option<Vec<Holding>>> {
        let content = lock(&self.content);
        let Some(content) = &*content else {
            return Ok(None);
        };
        let copy = |holding: &Holding| {
            Ok(Holding {
                passed: holding.passed.clone(),
                fd: holding.fd.try_clone()?,
            })
        };
        content
            .iter()
            .map(copy)
            .collect::<io::Result<_>>()
            .map(Some)
    }

    /// What there is, for people.
    pub(super) fn entries(&self) -> Vec<ListenerEntry> {
        let content = lock(&self.content);
        let content = content.iter().flatten();
        content.map(|held| held.passed.listener.clone()).collect()
    }

    /// Whether a network namespace matters.
    pub(super) fn has_inet(&self) -> bool {
        let kinds = self.entries();
        let inet = |entry: &ListenerEntry| entry.kind != ListenerKind::Unix;
        kinds.iter().any(inet)
    }

    /// The other side of a handover holds them too, or does not any more.
    pub(super) fn grant(&self, granted: bool) {
        self.granted.store(granted, Ordering::Release);
    }

    /// Closes the copies: the program's own listeners are about to be closed for good.
    pub(crate) fn close(&self) {
        lock(&self.content).take();
    }
}

impl AsFd for Holding {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
