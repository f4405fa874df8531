//! The stream of changes that etcd tells.

use etcd_client::{Event, EventType, WatchResponse, WatchStream};

use super::fault::Fault;
use super::table::Change;

/// A stream of changes, if there is one.
pub(super) enum Watch {
    /// It broke, or none was asked for.
    None,
    /// It is being asked for.
    Opening,
    /// It runs, on the connection with this number.
    Open(Box<WatchStream>, usize),
}

impl Watch {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(..))
    }

    /// Ends it unless it is on the connection with this number, the one that keeps the lease:
    /// otherwise nobody would notice that its own tells nothing any more.
    pub(super) fn follow(&mut self, connection: usize) {
        if matches!(self, Self::Open(_, number) if *number != connection) {
            *self = Self::None;
        }
    }

    /// What changed next. Cancelled, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Fault> {
        match self {
            Self::Open(stream, _) => {
                let message = stream.message().await?;
                message.ok_or_else(|| Fault::Silent("etcd ended the watch".to_owned()))
            }
            Self::None | Self::Opening => std::future::pending().await,
        }
    }
}

/// One change as [the table](super::table::Table) takes it.
pub(super) fn change(event: &Event) -> Option<Change> {
    let kv = event.kv()?;
    let put = event.event_type() == EventType::Put;
    Some(Change {
        key: kv.key().to_vec(),
        value: put.then(|| kv.value().to_vec()),
        created: kv.create_revision(),
        changed: kv.mod_revision(),
    })
}
