//! Work that counts like a connection.

use std::future::Future;

use tokio::sync::watch;

use crate::ledger::Entry;
use crate::stage::{Stage, Standing, wait};

/// Something the drain waits for, such as a job or a connection accepted by other means. Dropping
/// it ends it.
#[derive(Debug)]
pub struct Guard {
    _entry: Entry,
    standing: watch::Receiver<Standing>,
}

impl Guard {
    pub(crate) const fn new(entry: Entry, standing: watch::Receiver<Standing>) -> Self {
        Self {
            _entry: entry,
            standing,
        }
    }

    /// Resolves when the ladder has ended and the work is to be given up at once.
    pub fn cut(&self) -> impl Future<Output = ()> + Send + Sync + 'static {
        let cut = wait(self.standing.clone(), |standing| {
            standing.stage >= Stage::Forced
        });
        async move {
            cut.await;
        }
    }
}
