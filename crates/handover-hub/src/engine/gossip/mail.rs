//! What gossip engines send each other.

use bytes::Bytes;
use handover_hub_proto::view::Member;
use serde::{Deserialize, Serialize};

/// First byte of a message of chitchat; JSON begins with another one.
const SCUTTLEBUTT: u8 = 0;

/// What a node says of itself, counted so that what is older never replaces what is newer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    /// Grows with each change.
    pub(super) revision: u64,
    /// What it says.
    pub(super) member: Member,
}

/// A message between two engines. JSON, so that a version may add to what another one reads; these
/// are few.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mail {
    /// I am here; who else is?
    Join(Published),
    /// These are, as far as I know, me among them; and these own shards, as
    /// [`claim::encode`](handover_hub_proto::claim::encode) writes it.
    Welcome {
        /// Who welcomes.
        me: Published,
        /// Where the others are.
        addresses: Vec<String>,
        /// All owners.
        claims: String,
    },
    /// Something changed about me.
    Changed(Published),
    /// I own these, or have given them away.
    Claims(String),
    /// I say nothing for a while: my program is being replaced by its next version. Changed says
    /// that this is over.
    Resting,
    /// I am gone, and come back under another id if ever.
    Left,
}

/// What a letter contains.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// A message of chitchat.
    Scuttlebutt(Bytes),
    /// One of ours.
    Mail(Mail),
    /// Something of another version, or nonsense.
    Unknown,
}

impl Mail {
    pub(super) fn encode(&self) -> Bytes {
        // A struct of texts and numbers can always be written.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Wraps a message of chitchat.
pub(super) fn wrap(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = vec![SCUTTLEBUTT];
    write(&mut bytes);
    Bytes::from(bytes)
}

pub(super) fn open(bytes: &Bytes) -> Contents {
    if bytes.first() == Some(&SCUTTLEBUTT) {
        return Contents::Scuttlebutt(bytes.slice(1..));
    }
    match serde_json::from_slice(bytes) {
        Ok(mail) => Contents::Mail(mail),
        Err(_) => Contents::Unknown,
    }
}
