//! What is said on a takeover socket: how a process that somebody started finds out who serves and
//! gets everything from it, and how people ask an incumbent for things.
//!
//! Whoever connects sends [`MAGIC`] and one [`Ask`]; the incumbent answers with [`MAGIC`] and
//! [`Answer`]s. After `Granted` and all its `Listeners` the same connection is a native channel
//! ([`crate::frame`]), on which the new process greets first. Frames are those of [`crate::frame`]:
//! the same header, fields, and [`MAX_FRAME`](crate::frame::MAX_FRAME).
//!
//! # What another version may do
//! As with native frames: unknown fields and unknown kinds are skipped, fields added later are
//! defaulted. Both begin with [`MAGIC`] for ever.

mod kind;
mod message;
mod reader;
mod table;

pub use message::{Answer, Ask, Passed, RefusedFor};
pub use reader::{Reader, StreamError};

use alloc::vec::Vec;

use crate::frame::{self, VERSION_OLDEST};

/// First bytes of either direction, so that a program that is something else is recognised at once.
/// Read as the length word of a frame of any protocol of ours it is far too long.
pub const MAGIC: [u8; 8] = *b"handover";

/// Most listeners in one `Listeners`: with the longest name and address each, they fit into a
/// frame, and they are fewer than the 253 descriptors that the kernel passes in one message
/// (`SCM_MAX_FD`).
pub const LISTENERS_AT_ONCE: usize = 128;

/// Most listeners of a service: as many as are taken from a `LISTEN_FDS` block.
pub const MAX_LISTENERS: usize = 1024;

/// Longest name of a service in `Take`, in bytes: the longest file name, since the service has a
/// directory of that name.
pub const MAX_SERVICE: usize = 255;

/// The bytes of an ask: the first and only thing that whoever connects says.
#[must_use]
pub fn encode_ask(ask: &Ask) -> Vec<u8> {
    let mut bytes = Vec::from(MAGIC);
    bytes.extend(frame::encode(ask, VERSION_OLDEST));
    bytes
}

/// The bytes of an answer. `first`: nothing was answered before. Words are cut so that a frame is
/// never longer than [`MAX_FRAME`](crate::frame::MAX_FRAME).
#[must_use]
pub fn encode_answer(answer: &Answer, first: bool) -> Vec<u8> {
    let mut bytes = if first { Vec::from(MAGIC) } else { Vec::new() };
    bytes.extend(frame::encode(answer, VERSION_OLDEST));
    bytes
}
