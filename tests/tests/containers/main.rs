//! Containers on networks of their own hand over: handover-lib 0.0.10 under Node, ours, and one to
//! the other, on networks that are whole and on networks that are not.
//!
//! Needs root, for the namespaces.

mod command;
mod doctor;
mod entrypoint;
mod haproxy;
mod migration;
mod scratch;
mod status;
mod theirs;
mod watch;

/// The fixture server of this build.
pub(crate) const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");

/// The program of this build that relays, listens, forges and floods.
pub(crate) const WIRE: &str = env!("CARGO_BIN_EXE_wire");

/// Some time in the past, in milliseconds since the epoch, at which the oldest release started.
pub(crate) const LONG_AGO: i64 = 1_653_000_000_123;
