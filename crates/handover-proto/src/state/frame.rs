//! What is said on the channel, as values.

use alloc::string::String;
use alloc::vec::Vec;

use super::{ItemSpec, VERSION_NEWEST, VERSION_OLDEST};

/// Kinds of frames of the state channel. Disjoint from those of [`crate::frame::kind`], so that
/// two channels that are mixed up are noticed; a number, once used, is never used again.
pub mod kind {
    pub use crate::frame::kind::MUST_UNDERSTAND;

    /// [`Frame::Manifest`](super::Frame::Manifest)
    pub const MANIFEST: u16 = 0x0201;
    /// [`Frame::Item`](super::Frame::Item)
    pub const ITEM: u16 = 0x0202;
    /// [`Frame::Segment`](super::Frame::Segment)
    pub const SEGMENT: u16 = 0x0203;
    /// [`Frame::StreamEnd`](super::Frame::StreamEnd)
    pub const STREAM_END: u16 = 0x0204;
    /// [`Frame::BaseEnd`](super::Frame::BaseEnd)
    pub const BASE_END: u16 = 0x0205;
    /// [`Frame::End`](super::Frame::End)
    pub const END: u16 = 0x0206;
    /// [`Frame::Refused`](super::Frame::Refused)
    pub const REFUSED: u16 = 0x0207;
}

/// First frame of either side: what it speaks, and what it writes or reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Manifest {
    /// Oldest version of the channel it speaks.
    pub oldest: u16,
    /// Newest version of the channel it speaks.
    pub newest: u16,
    /// What it writes, if it is the incumbent, or reads, if it is the successor.
    pub items: Vec<ItemSpec>,
}

impl Manifest {
    /// The manifest of a program that runs this build.
    #[must_use]
    pub const fn new(items: Vec<ItemSpec>) -> Self {
        Self {
            oldest: VERSION_OLDEST,
            newest: VERSION_NEWEST,
            items,
        }
    }
}

/// Where the content of an item or a segment is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// In the frame; at most [`super::MAX_INLINE`] bytes.
    Inline(Vec<u8>),
    /// In what the descriptor names that is attached to the frame's first byte.
    Descriptor,
}

/// One frame of the state channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// First frame of either side.
    Manifest(Manifest),
    /// A whole item.
    Item {
        /// Its name.
        name: String,
        /// The agreed version of its format.
        version: u32,
        /// Bytes of its content.
        length: u64,
        /// xxh3-64 of its content; always there if it is inline.
        checksum: Option<u64>,
        /// Its content.
        body: Body,
    },
    /// A part of an item that is written as a stream. Nothing else comes between the first
    /// segment and the stream's end.
    Segment {
        /// The item's name.
        name: String,
        /// The agreed version of its format.
        version: u32,
        /// Its position, from 0.
        seq: u64,
        /// Bytes of its content.
        length: u64,
        /// xxh3-64 of its content.
        checksum: u64,
        /// Its content.
        body: Body,
    },
    /// A stream is whole. One without segments is an empty item.
    StreamEnd {
        /// The item's name.
        name: String,
        /// The agreed version of its format.
        version: u32,
        /// Bytes of all segments.
        length: u64,
        /// xxh3-64 of the segments' checksums, each as eight bytes little-endian, in order.
        checksum: u64,
    },
    /// The base is whole; what follows is the delta.
    BaseEnd,
    /// Everything is whole. Comes after the incumbent's seal hook.
    End {
        /// Items in base and delta together; a stream is one, an item in both is two.
        items: u64,
        /// Bytes in base and delta together.
        bytes: u64,
    },
    /// There will be nothing more.
    Refused {
        /// Why, for people; at most [`super::MAX_REASON`] bytes.
        reason: String,
    },
}

impl Frame {
    /// The frame's name, for errors and traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "Manifest",
            Self::Item { .. } => "Item",
            Self::Segment { .. } => "Segment",
            Self::StreamEnd { .. } => "StreamEnd",
            Self::BaseEnd => "BaseEnd",
            Self::End { .. } => "End",
            Self::Refused { .. } => "Refused",
        }
    }

    /// Whether the sender must attach a descriptor to the frame's first byte.
    #[must_use]
    pub const fn has_descriptor(&self) -> bool {
        matches!(
            self,
            Self::Item {
                body: Body::Descriptor,
                ..
            } | Self::Segment {
                body: Body::Descriptor,
                ..
            }
        )
    }
}
