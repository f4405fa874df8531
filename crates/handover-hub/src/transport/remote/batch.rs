//! Many frames in one message, so that small ones cost little.
//!
//! Each frame is its length, four bytes, then its encoding. The length lets a node skip a frame that
//! it does not know, which a newer node may send.

use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::transport::Frame;

/// Bytes of frames that are put into one message if so many wait. The cost of a message is spread
/// over hundreds of small frames; more would only make latency.
pub(super) const BATCH: usize = 64 << 10;

/// What was in a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// The frames, in order.
    pub(super) frames: Vec<Frame>,
    /// How many could not be read and were skipped.
    pub(super) unknown: u64,
}

/// Writes frames into one message.
pub(super) fn pack(frames: Vec<(Instant, Frame)>) -> Bytes {
    let size = frames.iter().map(|(_, frame)| frame.weight()).sum();
    let mut message = BytesMut::with_capacity(size);
    for (_, frame) in frames {
        let start = message.len();
        message.put_u32_le(0);
        // Encoding into memory fails for no frame: it has no sequence of unknown length.
        if postcard::serialize_with_flavor(&frame, Append(&mut message)).is_err() {
            message.truncate(start);
            continue;
        }
        // Frames are limited far below 4 GiB.
        let length = u32::try_from(message.len() - start - 4).unwrap_or_default();
        message[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }
    message.freeze()
}

/// Reads the frames of a message. What cannot be read is skipped and counted.
pub(super) fn unpack(mut message: Bytes) -> Unpacked {
    let mut unpacked = Unpacked::default();
    while !message.is_empty() {
        let Ok(length) = message.try_get_u32_le() else {
            unpacked.unknown += 1;
            break;
        };
        let length = length as usize;
        if length > message.len() {
            unpacked.unknown += 1;
            break;
        }
        match postcard::from_bytes(&message.split_to(length)) {
            Ok(frame) => unpacked.frames.push(frame),
            Err(_) => unpacked.unknown += 1,
        }
    }
    unpacked
}

struct Append<'a>(&'a mut BytesMut);

impl postcard::ser_flavors::Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.put_u8(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
