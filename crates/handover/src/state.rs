//! State on its way from an incumbent to its successor: what hooks write and read, and the channel
//! between the two processes.

pub(crate) mod channel;
mod error;
mod exchange;
mod item;
mod outbox;
mod stream;
mod writer;

use std::time::Duration;

use handover_proto::state::Received;
use handover_sys::memfd::SealedMemfd;

pub use error::StateError;
pub use item::{Item, ItemReader};
pub use stream::StreamWriter;
pub use writer::{Memory, StateWriter};

pub(crate) use writer::Chapter;

/// How much state may cross, and how long a seal may take to get it across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateBudget {
    /// Most bytes of all items of base and delta together, on either side. It is a guard against
    /// mistakes and liars; what there is room for, the kernel decides.
    pub bytes: u64,
    /// The longest from the call of the seal hook until its state has left this process. Over, the
    /// seal has failed and this instance serves on. A base may take its time.
    pub time: Duration,
}

impl Default for StateBudget {
    /// 64 GiB and 30 seconds: half of what a coordinator gives a seal by default.
    fn default() -> Self {
        Self {
            bytes: handover_proto::state::Budget::default().bytes,
            time: Duration::from_secs(30),
        }
    }
}

/// The items that arrived, by name. Their order is the writer's.
#[derive(Debug, Default)]
pub struct State {
    items: Vec<Item>,
    sealed: bool,
}

impl State {
    pub(crate) fn new(received: Vec<Received<SealedMemfd>>, sealed: bool) -> Self {
        Self {
            items: received.into_iter().map(Item::new).collect(),
            sealed,
        }
    }

    /// Whether the predecessor sealed it, rather than that it died or that there was none. A base
    /// is not sealed: it was written while the predecessor went on.
    #[must_use]
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Names of the items that were not taken yet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(Item::name)
    }

    /// Takes an item out; `None` if none of this name arrived.
    pub fn take(&mut self, name: &str) -> Option<Item> {
        let at = self.items.iter().position(|item| item.name() == name)?;
        Some(self.items.remove(at))
    }

    /// Whether nothing is left to be taken.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
