//! How a node is written from one program to the next: a header, then its processes, each with its
//! length before it.

use std::io::{Read, Write};

use handover_hub_proto::identity::{HubName, KindName};
use handover_hub_proto::node::Handed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{HandedHub, ResumeError, WriteError};
use crate::cell::Estate;

/// Bytes that are set aside before any of a record came: its length is a claim until then.
const AHEAD: u64 = 1 << 20;

/// The node itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) hub: HubName,
    pub(crate) shards: u16,
    /// Counts the programs of this node.
    pub(crate) instance: u64,
    /// The number of its next call.
    pub(crate) calls: u64,
    /// What its engine left.
    pub(crate) seat: Vec<u8>,
    pub(crate) machine: Handed,
    /// How many follow.
    pub(crate) processes: u64,
}

impl Header {
    pub(crate) fn read(from: &mut impl Read) -> Result<Self, ResumeError> {
        read_record(from)
    }
}

/// The next process.
pub(crate) fn read_estate(from: &mut impl Read) -> Result<Estate, ResumeError> {
    read_record(from)
}

fn read_record<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, ResumeError> {
    let unreadable = |reason: String| ResumeError::Unreadable(reason);
    let mut length = [0; 8];
    from.read_exact(&mut length)
        .map_err(|error| unreadable(error.to_string()))?;
    let length = u64::from_le_bytes(length);
    let ahead = usize::try_from(length.min(AHEAD)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(ahead);
    let read = from.take(length).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 != length {
        let found = bytes.len();
        return Err(unreadable(format!(
            "{length} bytes expected, {found} found"
        )));
    }
    postcard::from_bytes(&bytes).map_err(|error| unreadable(error.to_string()))
}

fn write_record<T: Serialize>(to: &mut impl Write, record: &T) -> Result<(), WriteError> {
    let bytes = postcard::to_allocvec(record)?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(&bytes)?;
    Ok(())
}

impl HandedHub {
    /// Writes all that the successor needs, states in the version that `schema` says for their kind:
    /// none if it does not know the kind. Nothing is changed by it. Returns the number of processes.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; what was written so far is of no use.
    pub fn write(
        &self,
        mut to: impl Write,
        schema: impl Fn(&KindName) -> Option<u32>,
    ) -> Result<u64, WriteError> {
        let shared = self.hub.shared();
        let cells = shared.cells.all();
        let present = cells.iter().filter(|cell| cell.kind().is_some());
        let header = Header {
            hub: shared.name.clone(),
            shards: shared.registry.shards(),
            instance: self.hub.seat().reins.instance,
            calls: shared.calls.next(),
            seat: self.seat.clone(),
            machine: self.machine.clone(),
            processes: present.clone().count() as u64,
        };
        write_record(&mut to, &header)?;
        for cell in present {
            // One is either here for as long as the node rests, or not.
            if let Some(estate) = cell.estate(&schema)? {
                write_record(&mut to, &estate)?;
            }
        }
        Ok(header.processes)
    }
}
