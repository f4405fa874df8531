//! One message in a mailbox.

use bytes::Bytes;
use handover_hub_proto::mailbox;
use handover_hub_proto::reply::Ticket;
use serde::{Deserialize, Serialize};

use crate::transport::frame::octets;

/// A message for a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    /// Of a call; none of a cast.
    pub(crate) ticket: Option<Ticket>,
    /// From itself, after a while.
    pub(crate) own: bool,
    /// The request, encoded by its kind.
    #[serde(with = "octets")]
    pub(crate) body: Bytes,
}

impl mailbox::Letter for Letter {
    fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    fn size(&self) -> usize {
        self.body.len()
    }
}

/// The bytes of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Octets(#[serde(with = "octets")] pub(crate) Bytes);

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
