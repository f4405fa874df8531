//! The ZERO exchange of the Go program `zero-downtime` (repository `aojea/zero-downtime`,
//! `server.go`): four bytes for one listening socket, over a Unix stream at a path both know.
//!
//! | step | bytes |
//! |---|---|
//! | taker → giver | [`REQUEST`], in one write |
//! | giver → taker | [`ANSWER`] and one descriptor (`SCM_RIGHTS`), then the end of the stream |
//! | giver | closes and removes the path, serves on for [`SERVES_ON`], then goes |
//! | taker | looks every [`LOOKS_EVERY`] until the path is gone, then listens on it |
//!
//! The exchange has no word for *no*: a giver that does not like what it read closes the
//! connection and goes on. It reads once, so a request in two pieces is none. It knows no readiness
//! either; a taker that wants some connects, stays silent until its new version is ready, and only
//! then asks ([`Taker`]). A silent connection that ends costs the giver nothing.
//!
//! Theirs attends to one connection at a time, so a silent one holds up the next; ours attends to
//! [`MOST_WAITING`], and the first that asks gets the socket.

mod giver;
mod step;
mod taker;

use core::time::Duration;

pub use self::giver::{Giver, GiverEffect, GiverInput, PeerId};
pub use self::step::{Step, Way};
pub use self::taker::{Taker, TakerEffect, TakerInput};

/// What a taker says.
pub const REQUEST: [u8; 4] = *b"ZERO";

/// What a giver answers, beside the descriptor: a stream drops descriptors that no byte carries, so
/// Go's `Sendmsg` adds this one.
pub const ANSWER: [u8; 1] = [0];

/// How many bytes a giver reads at once, as theirs: anything that is longer than [`REQUEST`] is to be
/// seen to be so.
pub const READS: usize = 1024;

/// How long a giver serves on beside the one that took over, as theirs.
pub const SERVES_ON: Duration = Duration::from_secs(5);

/// How often a taker looks whether the path is free, as theirs.
pub const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// After this long without an answer somebody should know. Theirs answers at once, unless a silent
/// connection is before ours in its queue.
pub const SLOW_AFTER: Duration = Duration::from_secs(5);

/// How long after a connection ended without a descriptor another taker may need to show itself at
/// the path: theirs looks every [`LOOKS_EVERY`]. Who has not by then does not exist.
pub const SHOWS_WITHIN: Duration = Duration::from_secs(3);

/// Connections a giver of ours attends to at once. Each costs it a descriptor; a deploy has one, two
/// that race have two.
pub const MOST_WAITING: usize = 16;
