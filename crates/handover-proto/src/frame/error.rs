//! Why bytes are not a frame.

use super::buffer::Fault;
use super::{HEADER_BYTES, MAX_BUFFERED, MAX_FRAME, VERSION_NEWEST, VERSION_OLDEST};

/// Why bytes are not a frame, or a frame not a message.
///
/// After [`TooLong`](Self::TooLong) the channel is lost: where the next frame begins is unknown.
/// [`Backlog`](Self::Backlog) and [`CutOff`](Self::CutOff) change nothing. After any other, the
/// offending frame is consumed and the next one can be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// A frame announces more than [`MAX_FRAME`] bytes.
    #[error(
        "a frame of {found} bytes is announced, at most {MAX_FRAME} are allowed; \
         close the channel, the peer does not speak this protocol"
    )]
    TooLong {
        /// The announced length.
        found: u32,
    },
    /// A frame has no room for its version and kind.
    #[error(
        "a frame of {found} bytes cannot hold its header of {HEADER_BYTES}; \
         the peer does not speak this protocol"
    )]
    TooShort {
        /// The announced length.
        found: u32,
    },
    /// More bytes were pushed than [`MAX_BUFFERED`] allows.
    #[error(
        "{pushed} bytes pushed onto {buffered}, at most {MAX_BUFFERED} may wait; \
         read the frames before pushing more"
    )]
    Backlog {
        /// Bytes that wait already.
        buffered: usize,
        /// Bytes that were refused.
        pushed: usize,
    },
    /// The channel ended within a frame.
    #[error("the channel ended after {found} of a frame's {expected} bytes; the peer died writing")]
    CutOff {
        /// Bytes of the frame with its length word; of the length word alone if that is cut.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A known message, other than a greeting, names a version this build does not speak.
    #[error(
        "{message} in protocol version {found}, this build speaks \
         {VERSION_OLDEST} to {VERSION_NEWEST}; the peer must use the version agreed in Welcome"
    )]
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version in the frame's header.
        found: u16,
    },
    /// A frame of unknown kind must not be skipped.
    #[error("frame of unknown kind {kind:#06x} must be understood; upgrade this side first")]
    MustUnderstand {
        /// Its kind, without [`super::kind::MUST_UNDERSTAND`].
        kind: u16,
    },
    /// A message came from the side that only receives it.
    #[error("{message} came from {found}, only {expected} sends it; two ends are mixed up")]
    WrongDirection {
        /// The message.
        message: &'static str,
        /// Who sends it.
        expected: &'static str,
        /// Who is at the other end.
        found: &'static str,
    },
    /// A frame ends within a field's tag and length.
    #[error(
        "{message} ends after {found} of a field header's {expected} bytes; the peer is faulty"
    )]
    CutFieldHeader {
        /// The message.
        message: &'static str,
        /// Bytes of a field's header.
        expected: usize,
        /// Bytes left in the frame.
        found: usize,
    },
    /// A field is longer than what is left of its frame.
    #[error(
        "{message} ends after {found} of the {expected} bytes of field {tag}; the peer is faulty"
    )]
    CutField {
        /// The message.
        message: &'static str,
        /// The field's tag.
        tag: u16,
        /// Its announced length.
        expected: u32,
        /// Bytes left in the frame.
        found: usize,
    },
    /// A field comes twice.
    #[error("{message} has field {tag} twice; the peer is faulty")]
    DuplicateField {
        /// The message.
        message: &'static str,
        /// The field's tag.
        tag: u16,
    },
    /// A field without a default is not there.
    #[error("{message} lacks its field `{field}`; the peer is faulty, or too old for this side")]
    MissingField {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field's bytes are not of its type.
    #[error(
        "`{field}` of {message} is no {expected} ({found} bytes); \
         the peer is faulty, or too new for this side"
    )]
    BadValue {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// Its type.
        expected: &'static str,
        /// The length of what is there instead.
        found: usize,
    },
    /// A field has bytes after its value.
    #[error(
        "`{field}` of {message} has {found} bytes, its value needs {expected}; the peer is faulty"
    )]
    TrailingBytes {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// Bytes its value needs.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
}

impl From<Fault> for FrameError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLong { found } => Self::TooLong { found },
            Fault::Backlog { buffered, pushed } => Self::Backlog { buffered, pushed },
            Fault::CutOff { expected, found } => Self::CutOff { expected, found },
        }
    }
}
