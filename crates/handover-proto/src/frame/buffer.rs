//! Bytes that wait until a frame of them is complete. Holds what arrived, never what was merely
//! announced.

use alloc::vec::Vec;
use core::ops::Range;

use super::LENGTH_BYTES;

/// Why bytes cannot be taken, or make no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A frame announces more than is allowed.
    TooLong { found: u32 },
    /// More was pushed than there is room for.
    Backlog { buffered: usize, pushed: usize },
    /// The stream ended within a frame.
    CutOff { expected: usize, found: usize },
}

/// A stream of frames, each behind its length word.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Bytes at the front that were read already; removed by the next push.
    read: usize,
    /// The announced length after which nothing can be read any more.
    refused: Option<u32>,
    /// The most a frame may have after its length word.
    longest: usize,
}

impl Buffer {
    pub(crate) const fn new(longest: usize) -> Self {
        Self {
            bytes: Vec::new(),
            read: 0,
            refused: None,
            longest,
        }
    }

    /// Adds bytes that arrived; all of them or none.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.intact()?;
        if bytes.len() > self.room() {
            return Err(Fault::Backlog {
                buffered: self.buffered(),
                pushed: bytes.len(),
            });
        }
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) fn buffered(&self) -> usize {
        self.bytes.len() - self.read
    }

    /// One frame that is not complete yet, and one push the size of the longest frame.
    pub(crate) fn room(&self) -> usize {
        (2 * (LENGTH_BYTES + self.longest)).saturating_sub(self.buffered())
    }

    /// Whether the stream may end here.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        self.intact()?;
        let mut rest = &self.bytes[self.read..];
        while !rest.is_empty() {
            let expected = match announced(rest) {
                Some(length) => LENGTH_BYTES.saturating_add(length as usize),
                None => LENGTH_BYTES,
            };
            let found = rest.len();
            rest = rest
                .get(expected..)
                .ok_or(Fault::CutOff { expected, found })?;
        }
        Ok(())
    }

    /// Consumes the next frame if it is complete: its bytes without the length word.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        Ok(self.take()?.map(|frame| &self.bytes[frame]))
    }

    fn intact(&self) -> Result<(), Fault> {
        match self.refused {
            Some(found) => Err(Fault::TooLong { found }),
            None => Ok(()),
        }
    }

    fn take(&mut self) -> Result<Option<Range<usize>>, Fault> {
        self.intact()?;
        let Some(found) = announced(&self.bytes[self.read..]) else {
            return Ok(None);
        };
        let length = found as usize;
        if length > self.longest {
            *self = Self {
                refused: Some(found),
                ..Self::new(self.longest)
            };
            return Err(Fault::TooLong { found });
        }
        if self.buffered() < LENGTH_BYTES + length {
            return Ok(None);
        }
        let begin = self.read + LENGTH_BYTES;
        self.read = begin + length;
        Ok(Some(begin..self.read))
    }
}

/// The length word, if it is complete.
fn announced(bytes: &[u8]) -> Option<u32> {
    let (word, _) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    Some(u32::from_le_bytes(*word))
}
