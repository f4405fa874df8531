//! The state channel: what an incumbent and its successor say to each other directly, once a
//! coordinator introduced them ([`crate::message::ToInstance::Introduce`]).
//!
//! ```text
//! both        Manifest                    names, versions; the range of channel versions
//! incumbent   (Item | Segment* StreamEnd)*  BaseEnd     the base, while it serves
//! incumbent   (Item | Segment* StreamEnd)*  End         the delta, after its seal hook
//! either      Refused                     why there will be nothing more
//! ```
//! | where | what |
//! |---|---|
//! | [`ItemSpec`], [`negotiate`] | which items cross, each in the highest version both know |
//! | [`Frame`], [`encode`], [`Reader`] | the bytes, in the manner of [`crate::frame`] |
//! | [`Terms`] | what two manifests agree on |
//! | [`Assembly`] | the receiving side: order, limits, budget, verdict |
//!
//! Contents do not have to cross the channel: an item or segment names a descriptor that comes
//! attached to the first byte of its frame. What a descriptor is, only the driver knows; here it
//! is any `D`.

mod assembly;
mod encode;
mod error;
mod frame;
mod item;
mod negotiation;
mod reader;
mod received;

pub use assembly::Assembly;
pub use encode::encode;
pub use error::{AssemblyError, FrameError};
pub use frame::{Body, Frame, Manifest, kind};
pub use item::{ItemError, ItemSpec, Need, Versions, check};
pub use negotiation::{Agreed, Disagreement, Mismatch, Terms, negotiate};
pub use reader::{Decoded, Reader};
pub use received::{Arrival, Budget, Part, Piece, Received};

/// First field of the first frame, so that a peer of another protocol is named as what it is.
/// `HOst`, little-endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"HOst");

/// Oldest version of the state channel this build speaks.
pub const VERSION_OLDEST: u16 = 1;
/// Newest version of the state channel this build speaks.
pub const VERSION_NEWEST: u16 = 1;

/// Most items of a manifest, and so of a set: each is a name somebody wrote into a program. A
/// program with more things than that has one item with many things in it.
pub const MAX_ITEMS: usize = 4096;

/// Longest name of an item in bytes, as for listeners ([`crate::manifest::MAX_NAME`]).
pub const MAX_NAME: usize = 255;

/// Most bytes of content within a frame, 64 KiB. Up to there a copy through the socket costs less
/// than a memory object of its own; from there on a descriptor crosses instead.
pub const MAX_INLINE: usize = 64 * 1024;

/// Most bytes after a frame's length word, 2 MiB: the manifest of [`MAX_ITEMS`] items, each with a
/// name of [`MAX_NAME`] bytes, has 1.1 MiB.
pub const MAX_FRAME: usize = 2 * 1024 * 1024;

/// Most segments over all streams of a channel. With segments of 64 MiB that is 4 TiB; without a
/// limit, empty segments would cost the receiver memory that no budget of bytes counts.
pub const MAX_SEGMENTS: u64 = 65_536;

/// Most descriptors that may wait for their frames. A sender attaches one to each frame, so one
/// waits; the rest is for a driver that receives several times before it reads frames.
pub const MAX_WAITING: usize = 16;

/// Longest reason of a [`Frame::Refused`] in bytes; longer ones are cut at a character. It is for
/// people.
pub const MAX_REASON: usize = 16 * 1024;
