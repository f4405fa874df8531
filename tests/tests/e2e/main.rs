//! A running service is upgraded, with real processes, sockets and signals. Grouped by theme; one
//! program, because each links half the workspace.
//!
//! Needs the `handover` program beside it: `cargo xtask test` builds everything first.

mod adoption;
mod bad_versions;
mod command;
mod compose;
mod control_socket;
mod development;
mod endurance;
mod exclusive;
mod first_process;
mod keeper;
mod listeners;
mod log_file;
mod migration;
mod probes;
mod streams;
mod systemd;
mod third_parties;
mod triggers;
mod under_load;
mod units;
mod unsupervised;

/// The fixture server of this build.
const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");
