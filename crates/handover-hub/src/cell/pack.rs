//! What goes with a process to its next host.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use handover_hub_proto::mailbox::Sealed;
use serde::{Deserialize, Serialize};

use super::letter::{Letter, Octets};
use crate::process::Handed;

/// All of a process, between two hosts.
#[derive(Clone, Debug)]
pub(crate) struct Pack {
    pub(crate) handed: Handed,
    pub(crate) sealed: Sealed<Letter, Octets>,
    /// Messages to itself, and after which time.
    pub(crate) later: Vec<(Duration, Octets)>,
}

/// Everything but the state, which follows as it is: it may be large.
#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    sealed: Sealed<Letter, Octets>,
    later: Vec<(Duration, Octets)>,
}

impl Pack {
    pub(crate) fn encode(self) -> Result<Bytes, postcard::Error> {
        let header = Header {
            schema: self.handed.schema(),
            sealed: self.sealed,
            later: self.later,
        };
        let header = postcard::to_allocvec(&header)?;
        let state = self.handed.bytes();
        let mut bytes = BytesMut::with_capacity(4 + header.len() + state.len());
        let length =
            u32::try_from(header.len()).map_err(|_| postcard::Error::SerializeBufferFull)?;
        bytes.put_u32_le(length);
        bytes.put_slice(&header);
        bytes.put_slice(state);
        Ok(bytes.freeze())
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, postcard::Error> {
        let end = postcard::Error::DeserializeUnexpectedEnd;
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(end.clone())?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let header: Header = postcard::from_bytes(rest.get(..length).ok_or(end)?)?;
        Ok(Self {
            handed: Handed::new(header.schema, bytes.slice(4 + length..)),
            sealed: header.sealed,
            later: header.later,
        })
    }
}
