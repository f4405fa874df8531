//! Frames by hand: what a later, a faulty or a hostile peer would send.

use handover_proto::frame::{Decoded, FrameError, Reader};
use handover_proto::message::{FromInstance, ToInstance};

/// A frame of the given fields, each with a length that fits.
pub(crate) fn frame(version: u16, kind: u16, fields: &[(u16, &[u8])]) -> Vec<u8> {
    let mut inside = Vec::new();
    for (tag, value) in fields {
        inside.extend(tag.to_le_bytes());
        inside.extend((value.len() as u32).to_le_bytes());
        inside.extend(*value);
    }
    raw(version, kind, &inside)
}

/// A frame with anything after its header.
pub(crate) fn raw(version: u16, kind: u16, inside: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((inside.len() as u32 + 4).to_le_bytes());
    bytes.extend(version.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(inside);
    bytes
}

pub(crate) fn read_from(bytes: &[u8]) -> Result<Option<Decoded<FromInstance>>, FrameError> {
    let mut reader = Reader::new();
    reader.push(bytes)?;
    reader.next_from()
}

pub(crate) fn read_to(bytes: &[u8]) -> Result<Option<Decoded<ToInstance>>, FrameError> {
    let mut reader = Reader::new();
    reader.push(bytes)?;
    reader.next_to()
}
