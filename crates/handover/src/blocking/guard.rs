//! Work that counts like a connection.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use crate::ledger::Entry;
use crate::stage::Stage;

/// Something the drain waits for, such as a job or a connection accepted by other means. Dropping
/// it ends it.
#[derive(Debug)]
pub struct Guard {
    entry: Entry,
    core: Arc<Core>,
}

impl Guard {
    pub(super) fn new(core: Arc<Core>) -> Self {
        let entry = core.ledger.open();
        Self { entry, core }
    }

    /// Whether the ladder has ended and the work is to be given up at once.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.entry.is_cut()
    }

    /// Waits until it is cut, at most this long, and says whether it is.
    pub fn cut_within(&self, within: Duration) -> bool {
        let forced = |standing: &crate::stage::Standing| standing.stage >= Stage::Forced;
        self.core.wait(Some(within), forced).is_some()
    }
}
