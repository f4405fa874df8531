//! Bytes to what was said, however they are split.

use super::{Answer, Ask, MAGIC};
use crate::frame::buffer::Buffer;
use crate::frame::reader::decode;
use crate::frame::table::Wire;
use crate::frame::{Decoded, FrameError, MAX_FRAME};

/// Why a stream is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StreamError {
    /// The other side is some other program.
    #[error(
        "it does not begin as a takeover socket does: {expected:02x?} expected, {found:02x?} found"
    )]
    Foreign {
        /// [`MAGIC`].
        expected: [u8; 8],
        /// What came in its place; bytes that did not come are zero.
        found: [u8; 8],
    },
    /// A frame is faulty.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Collects bytes of one direction of a takeover socket and gives what was said.
///
/// ```
/// use handover_proto::frame::Decoded;
/// use handover_proto::takeover::{Ask, Reader, encode_ask};
///
/// let bytes = encode_ask(&Ask::Status);
/// let mut reader = Reader::new();
/// reader.push(&bytes[..3])?;
/// assert_eq!(reader.next_ask()?, None);
/// reader.push(&bytes[3..])?;
/// assert_eq!(reader.next_ask()?, Some(Decoded::Message(Ask::Status)));
/// # Ok::<(), handover_proto::takeover::StreamError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    /// Bytes of the magic that have come.
    greeting: usize,
    buffer: Buffer,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the begin of a stream. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            greeting: 0,
            buffer: Buffer::new(MAX_FRAME),
        }
    }

    /// Adds bytes that arrived. At least [`MAX_FRAME`] bytes are accepted whenever all frames were
    /// read before.
    ///
    /// # Errors
    /// [`StreamError::Foreign`] as soon as a byte of the magic is wrong; the stream is of no use
    /// then. [`FrameError::Backlog`], [`FrameError::TooLong`] as with native frames.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        let expected = &MAGIC[self.greeting..];
        let greeting = expected.len().min(bytes.len());
        let (begin, rest) = bytes.split_at(greeting);
        if begin != &expected[..greeting] {
            let mut found = MAGIC;
            found[self.greeting..].fill(0);
            found[self.greeting..self.greeting + greeting].copy_from_slice(begin);
            return Err(StreamError::Foreign {
                expected: MAGIC,
                found,
            });
        }
        self.greeting += greeting;
        Ok(self.buffer.push(rest).map_err(FrameError::from)?)
    }

    /// Bytes that wait.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.buffered()
    }

    /// What was asked; `None` if it is not complete yet.
    ///
    /// # Errors
    /// Why it is no message.
    pub fn next_ask(&mut self) -> Result<Option<Decoded<Ask>>, StreamError> {
        self.next()
    }

    /// The next answer; `None` if it is not complete yet.
    ///
    /// # Errors
    /// Why it is no message.
    pub fn next_answer(&mut self) -> Result<Option<Decoded<Answer>>, StreamError> {
        self.next()
    }

    fn next<M: Wire>(&mut self) -> Result<Option<Decoded<M>>, StreamError> {
        match self.buffer.next().map_err(FrameError::from)? {
            Some(frame) => Ok(Some(decode(frame)?)),
            None => Ok(None),
        }
    }
}
