//! The state channel: negotiation, bytes, the receiving side.

#[path = "state/assembly.rs"]
mod assembly;
#[path = "state/bytes.rs"]
mod bytes;
#[path = "state/negotiation.rs"]
mod negotiation;
#[path = "state/samples.rs"]
mod samples;
