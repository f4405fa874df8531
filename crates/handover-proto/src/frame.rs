//! Native frames: the bytes of [`FromInstance`] and [`ToInstance`].
//!
//! ```text
//! u32 length of what follows | u16 protocol version | u16 kind | field*
//! field = u16 tag | u32 length of the value | value (postcard of the field's type)
//! ```
//! All numbers of the frame are little-endian. Fields stand in any order.
//!
//! # What another version may do
//! - A field of unknown tag is skipped; the same tag twice is an error, known or not.
//! - A frame of unknown kind is skipped ([`Decoded::Unknown`]), unless it carries
//!   [`kind::MUST_UNDERSTAND`]. That bit is a demand of the writer and no part of the kind.
//! - A field that is missing is an error, except the **defaulted** ones, which read as their
//!   type's default: `Hello.lease` (none), `Ready.claimed` (none), `Drained.report` and
//!   `Retired.report` (all zero), `Welcome.introduced` (false). Every field added later must be defaulted too.
//! - A value is never extended: one byte more than its type needs is an error. What is new gets a
//!   new tag.
//! - `Hello` and `Welcome` are readable whatever version their header names: they are how a
//!   version is found. Their required fields are therefore fixed for good. Any other known message
//!   must name a version between [`VERSION_OLDEST`] and [`VERSION_NEWEST`].
//!
//! # Limits
//! A frame announcing more than [`MAX_FRAME`] is refused before anything is allocated for it, and
//! a [`Reader`] holds at most [`MAX_BUFFERED`] bytes. So that a wordy program cannot break its own
//! channel, encoding never exceeds [`MAX_FRAME`] either: `text` and `reason` are cut to what fits,
//! at a character, and names that do not fit are left out of `claimed` (they are then reported as
//! unclaimed). A service of up to 250 listeners never meets the latter.

pub(crate) mod buffer;
mod error;
pub(crate) mod fields;
pub mod kind;
pub(crate) mod reader;
pub(crate) mod table;
mod version;

use alloc::string::String;
use alloc::vec::Vec;

use crate::message::{FromInstance, ToInstance};

pub use error::FrameError;
pub use reader::Reader;
pub use version::{Incompatible, VERSION_NEWEST, VERSION_OLDEST, negotiate};

use fields::Writer;
use table::Wire;

/// Most bytes after a frame's length word: 64 KiB. Control frames are small, state crosses
/// elsewhere; and 250 listener names of [`crate::manifest::MAX_NAME`] bytes still fit.
pub const MAX_FRAME: usize = 64 * 1024;

/// Most bytes a [`Reader`] holds: one frame that is not complete yet, and one push the size of
/// the largest frame. Whoever reads all frames after each push of up to [`MAX_FRAME`] bytes never
/// meets it.
pub const MAX_BUFFERED: usize = 2 * (LENGTH_BYTES + MAX_FRAME);

/// The length word in front of a frame.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Version and kind, the least a frame has after its length.
pub(crate) const HEADER_BYTES: usize = 4;
/// Kept free for header, field headers, length prefixes and an attempt's id when words are cut
/// to fit; generous, for an exact sum would have to follow every new field.
const OVERHEAD: usize = 128;
/// A length prefix inside a value: three bytes reach 2 MiB, more than a frame can hold.
const PREFIX_BYTES: usize = 3;

/// One frame, read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Decoded<M> {
    /// A message.
    Message(M),
    /// A frame of a later version that may be skipped, and was.
    Unknown {
        /// Its kind.
        kind: u16,
    },
}

/// A frame for the coordinator. `version` is the negotiated one; before there is one (`Hello`),
/// [`VERSION_OLDEST`]. Never longer than [`MAX_FRAME`] and its length word: words are cut to fit.
#[must_use]
pub fn encode_from(message: &FromInstance, version: u16) -> Vec<u8> {
    encode(message, version)
}

/// A frame for an instance. `version` is the negotiated one, in `Welcome` too. Never longer than
/// [`MAX_FRAME`] and its length word: words are cut to fit.
#[must_use]
pub fn encode_to(message: &ToInstance, version: u16) -> Vec<u8> {
    encode(message, version)
}

pub(crate) fn encode<M: Wire>(message: &M, version: u16) -> Vec<u8> {
    let bytes = whole(message, version);
    if bytes.len() <= LENGTH_BYTES + MAX_FRAME {
        bytes
    } else {
        whole(&message.shortened(MAX_FRAME - OVERHEAD), version)
    }
}

fn whole<M: Wire>(message: &M, version: u16) -> Vec<u8> {
    let mut writer = Writer::new(version, message.kind());
    message.write(&mut writer);
    writer.finish()
}

/// The longest beginning of `text` that has at most `room` bytes and whole characters.
pub(crate) fn cut(text: &str, room: usize) -> String {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= room).last();
    text[..end.unwrap_or(0)].into()
}

/// The names that fit into `room` bytes, in order.
pub(crate) fn fitting(names: &[String], room: usize) -> Vec<String> {
    let mut left = room;
    let fits = |name: &&String| match left.checked_sub(name.len() + PREFIX_BYTES) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    names.iter().filter(fits).cloned().collect()
}
