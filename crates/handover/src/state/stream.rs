//! An item written piece by piece.

use std::io::{self, Write};

use handover_proto::state::{Body, Frame, MAX_INLINE};
use handover_sys::memfd::Memfd;
use xxhash_rust::xxh3::Xxh3;

use super::StateError;
use super::outbox::Outgoing;
use super::writer::{StateWriter, failed};

/// Bytes of a segment while the successor keeps up: large enough that a descriptor per segment
/// costs nothing, small enough that it can work on one while the next is written.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// Segments grow when more than this many frames wait: a successor that does not read must not use
/// up the descriptors of this process.
const BACKLOG_STEP: usize = 16;

/// Segments grow at most by this power of two.
const MAX_GROWTH: usize = 8;

/// An item that is being written, piece by piece. From [`StateWriter::stream`].
///
/// Call [`StreamWriter::finish`]; one that is dropped before fails the hook, whatever the hook
/// returns.
pub struct StreamWriter<'writer> {
    writer: &'writer mut StateWriter,
    name: String,
    /// Absent when nobody takes the item.
    version: Option<u32>,
    seq: u64,
    length: u64,
    /// Begin of a segment, as long as it is small.
    small: Vec<u8>,
    segment: Option<Segment>,
    /// Over the checksums of the segments.
    checksums: Xxh3,
    finished: bool,
}

struct Segment {
    memfd: Memfd,
    length: u64,
    most: u64,
    checksum: Xxh3,
}

impl std::fmt::Debug for StreamWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamWriter")
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl<'writer> StreamWriter<'writer> {
    pub(super) fn new(
        writer: &'writer mut StateWriter,
        name: String,
        version: Option<u32>,
    ) -> Self {
        Self {
            writer,
            name,
            version,
            seq: 0,
            length: 0,
            small: Vec::new(),
            segment: None,
            checksums: Xxh3::new(),
            finished: false,
        }
    }

    /// Ends the item.
    ///
    /// # Errors
    /// As [`StateWriter::put`]. The item is not whole, and the hook fails.
    pub fn finish(mut self) -> Result<(), StateError> {
        if let Some(version) = self.version {
            self.flush_segment(version)?;
            let frame = Frame::StreamEnd {
                name: self.name.clone(),
                version,
                length: self.length,
                checksum: self.checksums.digest(),
            };
            let descriptor = None;
            self.writer.send(Outgoing { frame, descriptor })?;
            self.writer.wrote(&self.name);
        }
        self.finished = true;
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.length
    }

    fn append(&mut self, bytes: &[u8]) -> Result<usize, StateError> {
        let Some(version) = self.version else {
            self.length += bytes.len() as u64;
            return Ok(bytes.len());
        };
        if self.segment.is_none() && self.small.len() + bytes.len() <= MAX_INLINE {
            self.writer.spend(&self.name, bytes.len() as u64)?;
            self.small.extend_from_slice(bytes);
            self.length += bytes.len() as u64;
            return Ok(bytes.len());
        }
        let mut segment = match self.segment.take() {
            Some(segment) => segment,
            None => self.begin_segment()?,
        };
        let room = usize::try_from(segment.most - segment.length).unwrap_or(usize::MAX);
        let part = bytes.get(..room).unwrap_or(bytes);
        self.writer.spend(&self.name, part.len() as u64)?;
        segment.append(&self.name, part)?;
        self.length += part.len() as u64;
        let full = segment.length >= segment.most;
        self.segment = Some(segment);
        if full {
            self.flush_segment(version)?;
        }
        Ok(part.len())
    }

    fn begin_segment(&mut self) -> Result<Segment, StateError> {
        self.writer.in_time()?;
        let growth = (self.writer.backlog() / BACKLOG_STEP).min(MAX_GROWTH);
        let mut segment = Segment {
            memfd: Memfd::create(&self.name, 0).map_err(failed(&self.name))?,
            length: 0,
            most: SEGMENT << growth,
            checksum: Xxh3::new(),
        };
        segment.append(&self.name, &std::mem::take(&mut self.small))?;
        Ok(segment)
    }

    /// Sends what was written since the last segment.
    fn flush_segment(&mut self, version: u32) -> Result<(), StateError> {
        let (length, checksum, body, descriptor) = match self.segment.take() {
            Some(segment) => {
                let checksum = segment.checksum.digest();
                let sealed = segment.memfd.seal().map_err(|source| StateError::Seal {
                    name: self.name.clone(),
                    source,
                })?;
                let descriptor = Some(sealed.into());
                (segment.length, checksum, Body::Descriptor, descriptor)
            }
            None if self.small.is_empty() => return Ok(()),
            None => {
                let bytes = std::mem::take(&mut self.small);
                let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
                (bytes.len() as u64, checksum, Body::Inline(bytes), None)
            }
        };
        let frame = Frame::Segment {
            name: self.name.clone(),
            version,
            seq: self.seq,
            length,
            checksum,
            body,
        };
        self.writer.send(Outgoing { frame, descriptor })?;
        self.seq += 1;
        self.checksums.update(&checksum.to_le_bytes());
        Ok(())
    }
}

impl Segment {
    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.memfd.write_all(bytes).map_err(failed(name))?;
        self.checksum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
}

impl Write for StreamWriter<'_> {
    /// Errors hold a [`StateError`], which [`io::Error::into_inner`] gives back.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(io::Error::other)
    }

    /// Does nothing: what is written crosses when a segment is full, and at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StreamWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.writer.dropped(std::mem::take(&mut self.name));
        }
    }
}
