//! beyond-handoff 0.1.4 and us: its bytes, its daemons under our supervisor, its supervisor over
//! our daemons, and both libraries on one data directory.
//!
//! The crate itself is the peer. Outcomes are those of its own tests (`happy_path`,
//! `abort_pre_ready`, `abort_seal_failed`, `protocol_violations`, `concurrent_handoff`,
//! `supervisor_crash`), for its daemon and for ours alike.

mod bytes;
mod crashes;
mod faults;
mod incumbent;
mod migration;
mod supervised;
mod supervising;
mod world;

/// The daemon, see `handover_tests::handoff`.
pub(crate) const DAEMON: &str = env!("CARGO_BIN_EXE_handoff-daemon");
