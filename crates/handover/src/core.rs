//! What all handles of an instance share.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use crate::address::Address;
use crate::lease::Lease;
use crate::ledger::{Ledger, lock};
use crate::listener::Shelf;
use crate::log_file::{self, LogFile};
use crate::pool::Pool;
use crate::stage::Standing;
use crate::takeover::{Host, Shared};

/// The state behind an instance, its listeners, its layer and its driver.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) standing: watch::Sender<Standing>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) shelf: Shelf,
    pub(crate) pool: Mutex<Pool>,
    /// Whether clients are to be asked to reconnect; beside `standing`, since every answer of a
    /// server looks at it.
    reconnect: AtomicBool,
    /// The lease, once the program has asked to be the owner.
    lease: watch::Sender<Option<Lease>>,
    /// Where its stream listeners are bound, in the order in which they were opened.
    addresses: Mutex<Vec<Address>>,
    /// Log files that become its own when it serves.
    logs: Mutex<Vec<Weak<log_file::Shared>>>,
    /// Its part in takeovers, if it has one.
    pub(crate) host: Option<Arc<Host>>,
}

impl Core {
    pub(crate) fn new(name: String, pool: Pool, host: Option<Arc<Host>>) -> Arc<Self> {
        Arc::new(Self {
            name,
            standing: watch::Sender::default(),
            ledger: Arc::default(),
            shelf: Shelf::default(),
            pool: Mutex::new(pool),
            reconnect: AtomicBool::new(false),
            lease: watch::Sender::default(),
            addresses: Mutex::default(),
            logs: Mutex::default(),
            host,
        })
    }

    /// Changes the standing and wakes those who wait for it.
    pub(crate) fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(|standing| {
            change(standing);
            self.reconnect.store(!standing.accepts(), Ordering::Release);
        });
        if self.standing.borrow().committed {
            self.take_logs();
        }
    }

    /// Opens a log file that becomes the instance's own when it serves.
    pub(crate) fn log_file(&self, path: PathBuf) -> io::Result<LogFile> {
        let log = LogFile::of(path, self.standing.subscribe())?;
        lock(&self.logs).push(Arc::downgrade(log.shared()));
        if self.standing.borrow().committed {
            self.take_logs();
        }
        Ok(log)
    }

    fn take_logs(&self) {
        // Taken out first: a log of ours may be what hears the warning.
        let logs = std::mem::take(&mut *lock(&self.logs));
        for log in logs.iter().filter_map(Weak::upgrade) {
            if let Err(error) = log.serve() {
                tracing::warn!(%error, "the log file could not be renamed; lines go to one beside it");
            }
        }
    }

    /// Whether clients are to be asked to reconnect.
    pub(crate) fn asks_to_reconnect(&self) -> bool {
        self.reconnect.load(Ordering::Acquire)
    }

    /// Notes what the program's writers ask for their permits.
    pub(crate) fn owns(&self, lease: Lease) {
        self.lease.send_replace(Some(lease));
    }

    /// The lease, as soon as the program has asked to be the owner.
    #[cfg(feature = "axum")]
    pub(crate) async fn lease(&self) -> Lease {
        let mut lease = self.lease.subscribe();
        let found = match lease.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            // The sender lives as long as `self`.
            Err(_) => None,
        };
        match found {
            Some(lease) => lease,
            None => std::future::pending().await,
        }
    }

    /// Notes a listener that was opened as `name`, so that a successor gets it too. `shown`: where
    /// it is, when the kernel remembers another place.
    pub(crate) fn keep(&self, name: &str, fd: BorrowedFd<'_>, shown: Option<&Address>) {
        if let Some(host) = &self.host {
            host.estate.keep(name, fd, shown.map(Address::to_string));
        }
    }

    /// Who else holds the listener `name`.
    pub(crate) fn shared(&self, name: &str, inherited: bool) -> Shared {
        match &self.host {
            Some(host) => host.estate.shared(name),
            None => Shared::always(inherited),
        }
    }

    /// Notes where a stream listener is bound.
    pub(crate) fn listens_at(&self, address: Address) {
        lock(&self.addresses).push(address);
    }

    /// Where the first stream listener is bound.
    #[cfg(feature = "axum")]
    pub(crate) fn first_address(&self) -> Option<Address> {
        lock(&self.addresses).first().cloned()
    }
}
