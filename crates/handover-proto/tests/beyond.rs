//! beyond-handoff on the wire. The bytes are those of the crate itself; `tests/tests/beyond` has
//! it write them.

#[path = "beyond/bytes.rs"]
mod bytes;
#[path = "beyond/pairs.rs"]
mod pairs;
#[path = "beyond/peer.rs"]
mod peer;
#[path = "beyond/samples.rs"]
mod samples;
