//! Bytes to frames, however they are split.

use alloc::string::String;
use alloc::vec::Vec;

use super::{
    Body, Frame, FrameError, ItemError, ItemSpec, MAGIC, MAX_FRAME, MAX_INLINE, MAX_ITEMS,
    MAX_NAME, Manifest, VERSION_NEWEST, VERSION_OLDEST, check, kind,
};
use crate::frame::HEADER_BYTES;
use crate::frame::buffer::Buffer;
use crate::frame::fields::Fields;

/// One frame, read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decoded {
    /// A frame.
    Frame(Frame),
    /// A frame of a later version that may be skipped, and was.
    Unknown {
        /// Its kind.
        kind: u16,
        /// Whether a descriptor came with it. Field 6 says so in every frame, of later kinds too:
        /// otherwise the descriptor would be taken for the next one's.
        has_descriptor: bool,
    },
}

/// Collects bytes and gives frames: of one direction of one channel. The first is the other
/// side's manifest, and no later one is.
///
/// ```
/// use handover_proto::state::{Decoded, Frame, Manifest, Reader, VERSION_OLDEST, encode};
///
/// let manifest = Frame::Manifest(Manifest::new(vec![]));
/// let bytes = encode(&manifest, VERSION_OLDEST);
/// let mut reader = Reader::new();
/// reader.push(&bytes[..7])?;
/// assert_eq!(reader.next_frame()?, None);
/// reader.push(&bytes[7..])?;
/// assert_eq!(reader.next_frame()?, Some(Decoded::Frame(manifest)));
/// reader.finish()?;
/// # Ok::<(), handover_proto::state::FrameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    buffer: Buffer,
    greeted: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the begin of a channel. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: Buffer::new(MAX_FRAME),
            greeted: false,
        }
    }

    /// Adds bytes that arrived. At least [`MAX_FRAME`] bytes are accepted whenever all frames
    /// were read before.
    ///
    /// # Errors
    /// [`FrameError::Backlog`] if they are more than [`room`](Self::room): none is taken.
    /// [`FrameError::TooLong`] again, once it was returned: the stream cannot be read further.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        Ok(self.buffer.push(bytes)?)
    }

    /// Bytes that wait: frames not read yet, and the begin of one not complete.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.buffered()
    }

    /// Bytes that can be pushed now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.buffer.room()
    }

    /// The next frame; `None` if it is not complete yet.
    ///
    /// # Errors
    /// Why it is none. The bytes are consumed; on a state channel every error is the end of it.
    pub fn next_frame(&mut self) -> Result<Option<Decoded>, FrameError> {
        let Some(frame) = self.buffer.next()? else {
            return Ok(None);
        };
        let decoded = decode(frame)?;
        let manifest = matches!(decoded, Decoded::Frame(Frame::Manifest(_)));
        let found = match &decoded {
            Decoded::Frame(frame) => frame.name(),
            Decoded::Unknown { .. } => "a frame of unknown kind",
        };
        match (self.greeted, manifest) {
            (false, false) => Err(FrameError::NoManifest { found }),
            (true, true) => Err(FrameError::SecondManifest),
            (false, true) | (true, false) => {
                self.greeted = true;
                Ok(Some(decoded))
            }
        }
    }

    /// To be asked when the stream has ended: whether it ended between two frames.
    ///
    /// # Errors
    /// [`FrameError::CutOff`] if it ended within a frame, [`FrameError::TooLong`] again once it
    /// was returned.
    pub fn finish(&self) -> Result<(), FrameError> {
        Ok(self.buffer.finish()?)
    }
}

/// How one kind is read.
type Read = fn(&Fields<'_>) -> Result<Frame, FrameError>;

/// A frame without its length word.
fn decode(frame: &[u8]) -> Result<Decoded, FrameError> {
    let Some((&[v0, v1, k0, k1], fields)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        let found = frame.len() as u32;
        return Err(FrameError::TooShort { found });
    };
    let version = u16::from_le_bytes([v0, v1]);
    let marked = u16::from_le_bytes([k0, k1]);
    let kind = marked & !kind::MUST_UNDERSTAND;
    let (name, read): (_, Read) = match kind {
        kind::MANIFEST => ("Manifest", manifest),
        kind::ITEM => ("Item", item),
        kind::SEGMENT => ("Segment", segment),
        kind::STREAM_END => ("StreamEnd", stream_end),
        kind::BASE_END => ("BaseEnd", |_| Ok(Frame::BaseEnd)),
        kind::END => ("End", end),
        kind::REFUSED => ("Refused", refused),
        _ if marked != kind => return Err(FrameError::MustUnderstand { kind }),
        _ => {
            let fields = Fields::parse("a frame of unknown kind", fields)?;
            return Ok(Decoded::Unknown {
                kind,
                has_descriptor: fields.raw(6).is_some(),
            });
        }
    };
    // How a version is found cannot depend on the version.
    if kind != kind::MANIFEST && !(VERSION_OLDEST..=VERSION_NEWEST).contains(&version) {
        return Err(FrameError::UnsupportedVersion {
            frame: name,
            found: version,
        });
    }
    let fields = Fields::parse(name, fields)?;
    read(&fields).map(Decoded::Frame)
}

fn manifest(fields: &Fields<'_>) -> Result<Frame, FrameError> {
    let magic = fields.raw(1).unwrap_or_default();
    if magic != MAGIC.to_le_bytes() {
        let found = magic.iter().take(8).copied().collect();
        return Err(FrameError::NotOurs { found });
    }
    Ok(Frame::Manifest(Manifest {
        oldest: fields.required(2, "oldest", "u16")?,
        newest: fields.required(3, "newest", "u16")?,
        items: items(fields.raw(4).unwrap_or_default())?,
    }))
}

fn items(bytes: &[u8]) -> Result<Vec<ItemSpec>, FrameError> {
    let mut items = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if items.len() == MAX_ITEMS {
            let found = MAX_ITEMS + 1;
            return Err(ItemError::TooMany { found }.into());
        }
        let position = items.len();
        let (item, after) = postcard::take_from_bytes(rest).map_err(|_| FrameError::BadItem {
            position,
            found: rest.len(),
        })?;
        items.push(item);
        rest = after;
    }
    check(&items)?;
    Ok(items)
}

fn name(fields: &Fields<'_>) -> Result<String, FrameError> {
    let name: String = fields.required(1, "name", "String")?;
    if name.len() > MAX_NAME {
        let found = name.len();
        return Err(ItemError::LongName { name, found }.into());
    }
    Ok(name)
}

fn body(frame: &'static str, length: u64, fields: &Fields<'_>) -> Result<Body, FrameError> {
    match (fields.raw(5), fields.raw(6)) {
        (Some(_), Some(_)) => Err(FrameError::TwoBodies { frame }),
        (None, None) => Err(FrameError::NoBody { frame }),
        (None, Some(_)) => Ok(Body::Descriptor),
        (Some(bytes), None) => {
            let found = bytes.len();
            if found > MAX_INLINE {
                return Err(FrameError::LongBody { frame, found });
            }
            if length != found as u64 {
                return Err(FrameError::WrongLength {
                    frame,
                    expected: length,
                    found,
                });
            }
            Ok(Body::Inline(bytes.to_vec()))
        }
    }
}

fn item(fields: &Fields<'_>) -> Result<Frame, FrameError> {
    let length = fields.required(3, "length", "u64")?;
    let checksum: Option<u64> = fields.defaulted(4, "checksum", "Option<u64>")?;
    let body = body("Item", length, fields)?;
    if checksum.is_none() && matches!(body, Body::Inline(_)) {
        return Err(FrameError::NoChecksum { frame: "Item" });
    }
    Ok(Frame::Item {
        name: name(fields)?,
        version: fields.required(2, "version", "u32")?,
        length,
        checksum,
        body,
    })
}

fn segment(fields: &Fields<'_>) -> Result<Frame, FrameError> {
    let length = fields.required(3, "length", "u64")?;
    Ok(Frame::Segment {
        name: name(fields)?,
        version: fields.required(2, "version", "u32")?,
        seq: fields.required(7, "seq", "u64")?,
        length,
        checksum: fields.required(4, "checksum", "u64")?,
        body: body("Segment", length, fields)?,
    })
}

fn stream_end(fields: &Fields<'_>) -> Result<Frame, FrameError> {
    Ok(Frame::StreamEnd {
        name: name(fields)?,
        version: fields.required(2, "version", "u32")?,
        length: fields.required(3, "length", "u64")?,
        checksum: fields.required(4, "checksum", "u64")?,
    })
}

fn end(fields: &Fields<'_>) -> Result<Frame, FrameError> {
    Ok(Frame::End {
        items: fields.required(1, "items", "u64")?,
        bytes: fields.required(2, "bytes", "u64")?,
    })
}

fn refused(fields: &Fields<'_>) -> Result<Frame, FrameError> {
    Ok(Frame::Refused {
        reason: fields.required(1, "reason", "String")?,
    })
}
