//! Frames from a stream of bytes, however it is split.

use super::buffer::Buffer;
use super::fields::Fields;
use super::table::Wire;
use super::{Decoded, FrameError, HEADER_BYTES, MAX_FRAME, VERSION_NEWEST, VERSION_OLDEST, kind};
use crate::message::{FromInstance, ToInstance};

/// Collects bytes and gives frames. One reader reads one direction of one channel: a coordinator
/// calls [`next_from`](Self::next_from), an instance [`next_to`](Self::next_to).
///
/// Push what arrived, read frames until there is none, push again:
///
/// ```
/// use handover_proto::frame::{Decoded, Reader, VERSION_OLDEST, encode_from};
/// use handover_proto::message::FromInstance;
///
/// let bytes = encode_from(&FromInstance::Warmed, VERSION_OLDEST);
/// let mut reader = Reader::new();
/// reader.push(&bytes[..5])?;
/// assert_eq!(reader.next_from()?, None);
/// reader.push(&bytes[5..])?;
/// assert_eq!(reader.next_from()?, Some(Decoded::Message(FromInstance::Warmed)));
/// assert_eq!(reader.next_from()?, None);
/// reader.finish()?;
/// # Ok::<(), handover_proto::frame::FrameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader(Buffer);

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the begin of a stream. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Buffer::new(MAX_FRAME))
    }

    /// Adds bytes that arrived. At least [`MAX_FRAME`] bytes are accepted whenever all frames
    /// were read before.
    ///
    /// # Errors
    /// [`FrameError::Backlog`] if they are more than [`room`](Self::room): none is taken.
    /// [`FrameError::TooLong`] again, once it was returned: the stream cannot be read further.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        Ok(self.0.push(bytes)?)
    }

    /// Bytes that wait: frames not read yet, and the begin of one not complete.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.0.buffered()
    }

    /// Bytes that can be pushed now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// The next frame of an instance; `None` if it is not complete yet.
    ///
    /// # Errors
    /// Why it is no message. The frame is consumed and the next can be read, except after
    /// [`FrameError::TooLong`], which drops all that waits and is returned from then on.
    pub fn next_from(&mut self) -> Result<Option<Decoded<FromInstance>>, FrameError> {
        self.next()
    }

    /// The next frame of a coordinator; `None` if it is not complete yet.
    ///
    /// # Errors
    /// As [`next_from`](Self::next_from).
    pub fn next_to(&mut self) -> Result<Option<Decoded<ToInstance>>, FrameError> {
        self.next()
    }

    /// To be asked when the stream has ended: whether it ended between two frames. Changes
    /// nothing; frames not read yet can still be read.
    ///
    /// # Errors
    /// [`FrameError::CutOff`] if it ended within a frame, [`FrameError::TooLong`] again once it
    /// was returned.
    pub fn finish(&self) -> Result<(), FrameError> {
        Ok(self.0.finish()?)
    }

    fn next<M: Wire>(&mut self) -> Result<Option<Decoded<M>>, FrameError> {
        self.0.next()?.map(decode).transpose()
    }
}

/// A frame without its length word.
pub(crate) fn decode<M: Wire>(frame: &[u8]) -> Result<Decoded<M>, FrameError> {
    let Some((&[v0, v1, k0, k1], fields)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        let found = frame.len() as u32;
        return Err(FrameError::TooShort { found });
    };
    let version = u16::from_le_bytes([v0, v1]);
    let marked = u16::from_le_bytes([k0, k1]);
    let kind = marked & !kind::MUST_UNDERSTAND;
    let Some(row) = M::row(kind) else {
        return foreign::<M>(kind, marked != kind);
    };
    let message = row.name;
    // How a version is found cannot depend on the version.
    let greeting = matches!(kind, kind::HELLO | kind::WELCOME);
    if !greeting && !(VERSION_OLDEST..=VERSION_NEWEST).contains(&version) {
        let found = version;
        return Err(FrameError::UnsupportedVersion { message, found });
    }
    (row.read)(&Fields::parse(message, fields)?).map(Decoded::Message)
}

/// A frame whose kind is not of this direction. Its fields are not looked at: a later version
/// may give a kind of its own another inside.
fn foreign<M: Wire>(kind: u16, must_understand: bool) -> Result<Decoded<M>, FrameError> {
    if let Some(row) = M::Opposite::row(kind) {
        return Err(FrameError::WrongDirection {
            message: row.name,
            expected: M::Opposite::SENDER,
            found: M::SENDER,
        });
    }
    if must_understand {
        return Err(FrameError::MustUnderstand { kind });
    }
    Ok(Decoded::Unknown { kind })
}
