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
    /// It runs.
    Open(Box<WatchStream>),
}

impl Watch {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// What changed next. Cancelled, nothing is lost.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Fault> {
        match self {
            Self::Open(stream) => {
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
