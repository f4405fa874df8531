//! Frames of theirs: bytes to messages and back.

use alloc::string::String;
use alloc::vec::Vec;

use super::error::HEADER_BYTES;
use super::fields::{Fields, Writer};
use super::{FrameError, MAX_FRAME, Message, Side, VERSION};
use crate::frame::LENGTH_BYTES;
use crate::frame::buffer::Buffer;

/// Most bytes of words we write into a frame. Reasons are for people, and the other side refuses
/// a frame of more than [`MAX_FRAME`].
const MAX_WORDS: usize = 16 * 1024;

/// A message as a frame in protocol version [`VERSION`]. Words of more than 16 KiB are cut, at a
/// character; lists of words and revisions are ours and short.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::from([0; LENGTH_BYTES]);
    bytes.extend(VERSION.to_le_bytes());
    let mut writer = Writer::new(bytes);
    write(&mut writer, message);
    let mut bytes = writer.finish();
    let length = (bytes.len() - LENGTH_BYTES) as u32;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn write(to: &mut Writer, message: &Message) {
    match message {
        Message::Hello {
            side,
            pid,
            build_id,
            oldest,
            newest,
            capabilities,
        } => {
            to.number(0u8);
            to.number(match side {
                Side::Incumbent => 0u8,
                Side::Successor => 1,
            });
            to.number(*pid);
            to.bytes(&build_id[..build_id.len().min(MAX_WORDS)]);
            to.number(*oldest);
            to.number(*newest);
            to.number(*capabilities);
        }
        Message::HelloAck { version, id } => {
            to.number(1u8);
            to.number(*version);
            to.id(*id);
        }
        Message::PrepareHandoff {
            id,
            successor_pid,
            deadline_ms,
            drain_grace_ms,
        } => {
            to.number(2u8);
            to.id(*id);
            to.number(*successor_pid);
            to.number(*deadline_ms);
            to.number(*drain_grace_ms);
        }
        Message::Drained {
            open_conns_remaining,
            accept_closed,
        } => {
            to.number(3u8);
            to.number(*open_conns_remaining);
            to.flag(*accept_closed);
        }
        Message::SealRequest { id } => named(to, 4, *id),
        Message::SealProgress {
            sealed,
            total,
            last_revision,
        } => {
            to.number(5u8);
            to.number(*sealed);
            to.number(*total);
            to.number(*last_revision);
        }
        Message::Begin { id } => named(to, 8, *id),
        Message::Commit { id } => named(to, 10, *id),
        Message::ResumeAfterAbort { id } => named(to, 12, *id),
        Message::Heartbeat { ts_ms } => {
            to.number(13u8);
            to.number(*ts_ms);
        }
        Message::SealComplete { .. }
        | Message::SealFailed { .. }
        | Message::Ready { .. }
        | Message::Abort { .. } => write_result(to, message),
    }
}

/// The messages that say how a step ended, with lists and words.
fn write_result(to: &mut Writer, message: &Message) {
    match message {
        Message::SealComplete {
            id,
            last_revision_per_shard,
            data_dir_fingerprint,
        } => {
            named(to, 6, *id);
            to.numbers(last_revision_per_shard);
            to.array(data_dir_fingerprint);
        }
        Message::SealFailed {
            id,
            error,
            partial_state,
        } => {
            named(to, 7, *id);
            to.bytes(short(error));
            to.bytes(short(partial_state));
        }
        Message::Ready {
            id,
            listening_on,
            healthz_ok,
            advertised_revision_per_shard,
        } => {
            named(to, 9, *id);
            to.texts(listening_on);
            to.flag(*healthz_ok);
            to.numbers(advertised_revision_per_shard);
        }
        Message::Abort { id, reason } => {
            named(to, 11, *id);
            to.bytes(short(reason));
        }
        _ => {}
    }
}

fn named(to: &mut Writer, number: u8, id: super::HandoffId) {
    to.number(number);
    to.id(id);
}

fn short(words: &str) -> &[u8] {
    let end = words.floor_char_boundary(MAX_WORDS);
    &words.as_bytes()[..end]
}

/// Collects bytes and gives messages. Holds what arrived, at most two frames of the longest kind;
/// never what was merely announced.
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

    /// Adds bytes that arrived. At least [`MAX_FRAME`] bytes are accepted whenever all messages
    /// were read before.
    ///
    /// # Errors
    /// [`FrameError::Backlog`] if there is no room: none is taken. [`FrameError::TooLong`] again,
    /// once it was returned.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        Ok(self.0.push(bytes)?)
    }

    /// The next message; `None` if it is not complete yet.
    ///
    /// # Errors
    /// Why it is none.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        self.0.next()?.map(decode).transpose()
    }

    /// To be asked when the stream has ended: whether it ended between two frames.
    ///
    /// # Errors
    /// [`FrameError::CutOff`] if not, [`FrameError::TooLong`] again once it was returned.
    pub fn finish(&self) -> Result<(), FrameError> {
        Ok(self.0.finish()?)
    }
}

/// A frame without its length word. Bytes after the last field are ignored, as theirs does.
fn decode(frame: &[u8]) -> Result<Message, FrameError> {
    let Some((&version, fields)) = frame.split_first_chunk::<HEADER_BYTES>() else {
        let found = frame.len();
        return Err(FrameError::TooShort { found });
    };
    let message = read(&mut Fields::new(fields))?;
    let found = u16::from_le_bytes(version);
    // How a version is found cannot depend on the version.
    if found != VERSION && !matches!(message, Message::Hello { .. }) {
        let message = message.name();
        return Err(FrameError::UnsupportedVersion { message, found });
    }
    Ok(message)
}

/// The messages by number.
const NAMES: [&str; 14] = [
    "Hello",
    "HelloAck",
    "PrepareHandoff",
    "Drained",
    "SealRequest",
    "SealProgress",
    "SealComplete",
    "SealFailed",
    "Begin",
    "Ready",
    "Commit",
    "Abort",
    "ResumeAfterAbort",
    "Heartbeat",
];

fn read(from: &mut Fields<'_>) -> Result<Message, FrameError> {
    let number = from.u32("its number")?;
    let known = usize::try_from(number).ok().and_then(|at| NAMES.get(at));
    let Some(name) = known else {
        return Err(FrameError::UnknownMessage { found: number });
    };
    from.message = name;
    Ok(match number {
        0 => hello(from)?,
        1 => Message::HelloAck {
            version: from.u16("proto_version_chosen")?,
            id: from.id()?,
        },
        2 => Message::PrepareHandoff {
            id: from.id()?,
            successor_pid: from.u32("successor_pid")?,
            deadline_ms: from.u64("deadline_ms")?,
            drain_grace_ms: from.u64("drain_grace_ms")?,
        },
        3 => Message::Drained {
            open_conns_remaining: from.u32("open_conns_remaining")?,
            accept_closed: from.flag("accept_closed")?,
        },
        4 => Message::SealRequest { id: from.id()? },
        5 => Message::SealProgress {
            sealed: from.u32("shards_sealed")?,
            total: from.u32("shards_total")?,
            last_revision: from.u64("last_revision")?,
        },
        6 => Message::SealComplete {
            id: from.id()?,
            last_revision_per_shard: from.numbers("last_revision_per_shard")?,
            data_dir_fingerprint: from.array("data_dir_fingerprint")?,
        },
        7 => Message::SealFailed {
            id: from.id()?,
            error: from.text("error")?,
            partial_state: from.text("partial_state")?,
        },
        8 => Message::Begin { id: from.id()? },
        9 => ready(from)?,
        10 => Message::Commit { id: from.id()? },
        11 => Message::Abort {
            id: from.id()?,
            reason: from.text("reason")?,
        },
        12 => Message::ResumeAfterAbort { id: from.id()? },
        _ => Message::Heartbeat {
            ts_ms: from.u64("ts_ms")?,
        },
    })
}

fn hello(from: &mut Fields<'_>) -> Result<Message, FrameError> {
    let field = "role";
    let side = match from.u32(field)? {
        0 => Side::Incumbent,
        1 => Side::Successor,
        _ => {
            return Err(FrameError::BadValue {
                message: "Hello",
                field,
                expected: "Incumbent or Successor",
            });
        }
    };
    Ok(Message::Hello {
        side,
        pid: from.u32("pid")?,
        build_id: from.bytes("build_id")?.into(),
        oldest: from.u16("proto_min")?,
        newest: from.u16("proto_max")?,
        capabilities: from.u64("capabilities")?,
    })
}

fn ready(from: &mut Fields<'_>) -> Result<Message, FrameError> {
    let id = from.id()?;
    let listening_on: Vec<String> = from.texts("listening_on")?;
    Ok(Message::Ready {
        id,
        listening_on,
        healthz_ok: from.flag("healthz_ok")?,
        advertised_revision_per_shard: from.numbers("advertised_revision_per_shard")?,
    })
}
