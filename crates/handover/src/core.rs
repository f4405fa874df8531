//! What all handles of an instance share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::listener::Shelf;
use crate::pool::Pool;
use crate::stage::Standing;

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
}

impl Core {
    pub(crate) fn new(name: String, pool: Pool) -> Arc<Self> {
        Arc::new(Self {
            name,
            standing: watch::Sender::default(),
            ledger: Arc::default(),
            shelf: Shelf::default(),
            pool: Mutex::new(pool),
            reconnect: AtomicBool::new(false),
        })
    }

    /// Changes the standing and wakes those who wait for it.
    pub(crate) fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(|standing| {
            change(standing);
            self.reconnect.store(!standing.accepts(), Ordering::Release);
        });
    }

    /// Whether clients are to be asked to reconnect.
    pub(crate) fn asks_to_reconnect(&self) -> bool {
        self.reconnect.load(Ordering::Acquire)
    }
}
