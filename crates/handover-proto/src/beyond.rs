//! beyond-handoff on the wire: protocol version 1 of the crate `beyond-handoff` 0.1.4, read from
//! its published source. Its frames, and the machines that translate between them and ours, both
//! ways.
//!
//! ```text
//! u32 length of what follows | u16 protocol version | postcard of the message
//! ```
//! The numbers of the header are little-endian.
//!
//! | who we are | who they are | machine |
//! |---|---|---|
//! | coordinator | incumbent or successor | [`Peer`], for all its life |
//! | successor | supervisor | [`AsSuccessor`] |
//! | incumbent | supervisor | [`AsIncumbent`], for one session |
//!
//! # Timing of the other side
//! Facts of 0.1.4: the incumbent listens on its control socket, serves one session at a time and
//! speaks first. It emits a heartbeat every 2 s while its drain or seal hook runs and reads
//! nothing meanwhile; it answers each heartbeat it reads by one of its own. Its supervisor takes
//! 10 s of silence for death, waits 5 s for a greeting, and adds 1 s to every deadline it gave
//! away.
//!
//! # Where we are stricter
//! - `Ready` with `healthz_ok = false` is a failure, not a commit.
//! - `Ready` that advertises a lower revision of a shard than `SealComplete` named is a failure:
//!   the successor opened older data.
//! - A seal that was asked for before the drain was over ends the session.
//! - A supervisor that is silent past the deadline it announced is dead, so that a sealed
//!   incumbent does not wait for ever.
//!
//! `data_dir_fingerprint` is passed on for people and compared with nothing: no other message
//! carries one to compare it with. We send zeros.

mod as_incumbent;
mod as_successor;
mod error;
mod fields;
mod frame;
mod message;
mod peer;

use core::time::Duration;

use crate::moment::Moment;

pub use as_incumbent::AsIncumbent;
pub use as_successor::{AsSuccessor, Effect, GREETING_HELD, Input};
pub use error::FrameError;
pub use frame::{Reader, encode};
pub use message::{HandoffId, Message, Side};
pub use peer::{Aside, Birth, Effect as PeerEffect, Input as PeerInput, Peer};

/// The protocol version spoken here (beyond-handoff 0.1.4: `PROTO_MIN` and `PROTO_MAX`).
pub const VERSION: u16 = 1;

/// Most bytes after a frame's length word: 1 MiB (beyond-handoff 0.1.4, `MAX_FRAME_BYTES`).
pub const MAX_FRAME: usize = 1 << 20;

/// Between two heartbeats of whoever runs a hook (`HEARTBEAT_INTERVAL`).
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(2);

/// Silence after which a peer that must heartbeat is dead (`LIVENESS_TIMEOUT`).
pub const SILENCE: Duration = Duration::from_secs(10);

/// From the opening of a channel until its greeting or the answer to it (`HELLO_READ_TIMEOUT`).
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// What the other side adds to a deadline for what is on its way already (`WIRE_SLACK`).
pub const SLACK: Duration = Duration::from_secs(1);

/// A whole handover at most (`SpawnSpec::deadline` by default). Heartbeats keep a step alive no
/// longer than this.
pub const OVERALL: Duration = Duration::from_secs(300);

fn heartbeat(now: Moment) -> Message {
    Message::Heartbeat {
        ts_ms: now.as_nanos() / 1_000_000,
    }
}
