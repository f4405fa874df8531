//! Why bytes are not a frame of theirs.

use super::{MAX_FRAME, VERSION};
use crate::frame::buffer::Fault;

/// Version number, the least a frame has after its length.
pub(super) const HEADER_BYTES: usize = 2;

/// Why bytes are not a frame, or a frame not a message. After any of them the channel is to be
/// closed: their protocol has nothing that may be skipped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameError {
    /// A frame announces more than [`MAX_FRAME`] bytes.
    #[error(
        "a frame of {found} bytes is announced, beyond-handoff allows {MAX_FRAME}; \
         close the channel, the peer does not speak this protocol"
    )]
    TooLong {
        /// The announced length.
        found: u32,
    },
    /// A frame has no room for its version.
    #[error(
        "a frame of {found} bytes cannot hold its version of {HEADER_BYTES}; \
         the peer does not speak this protocol"
    )]
    TooShort {
        /// The announced length.
        found: usize,
    },
    /// More bytes were pushed than may wait.
    #[error("{pushed} bytes pushed onto {buffered}; read the frames before pushing more")]
    Backlog {
        /// Bytes that wait already.
        buffered: usize,
        /// Bytes that were refused.
        pushed: usize,
    },
    /// The channel ended within a frame.
    #[error("the channel ended after {found} of a frame's {expected} bytes; the peer died writing")]
    CutOff {
        /// Bytes of the frame with its length word.
        expected: usize,
        /// Bytes that came.
        found: usize,
    },
    /// A message other than a greeting names another version.
    #[error(
        "{message} in protocol version {found}, {VERSION} was agreed; \
         the peer must be beyond-handoff 0.1"
    )]
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version in the frame's header.
        found: u16,
    },
    /// There is no message of this number.
    #[error("message number {found} is unknown; the peer is newer than beyond-handoff 0.1.4")]
    UnknownMessage {
        /// The number.
        found: u32,
    },
    /// A message ends within a field.
    #[error("{message} ends within `{field}`; the peer is faulty")]
    Cut {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field lists more than is allowed.
    #[error("`{field}` of {message} lists {found}, at most {allowed} are allowed")]
    TooMany {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// The most it may list.
        allowed: usize,
        /// What it lists.
        found: usize,
    },
    /// A field's bytes are not of its type.
    #[error("`{field}` of {message} is no {expected}; the peer is faulty")]
    BadValue {
        /// The message.
        message: &'static str,
        /// The field.
        field: &'static str,
        /// Its type.
        expected: &'static str,
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
