//! Containers on networks of their own hand over: handover-lib 0.0.10 under Node, ours, and one to
//! the other, on networks that are whole and on networks that are not.
//!
//! Needs root, for the namespaces.

mod clocks;
mod command;
mod devices;
mod doctor;
mod entrypoint;
mod forgeries;
mod generations;
mod haproxy;
mod interfaces;
mod interop;
mod losses;
mod migration;
mod scratch;
mod status;
mod theirs;
mod watch;

use handover_tests::network::{Container, Entrypoint, Ours};

/// The fixture server of this build.
pub(crate) const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");

/// The program of this build that relays, listens, forges and floods.
pub(crate) const WIRE: &str = env!("CARGO_BIN_EXE_wire");

/// Some time in the past, in milliseconds since the epoch, at which the oldest release started.
pub(crate) const LONG_AGO: i64 = 1_653_000_000_123;

/// A service on our library.
pub(crate) fn ours() -> Ours {
    Ours::new(env!("CARGO_BIN_EXE_container-peer"))
}

/// The same, without a word to or from handover-lib.
pub(crate) fn version_3() -> Ours {
    ours().legacy("off")
}

/// Waits until an instance has let go for good, and checks that it did so once and said so where
/// the platform looks.
pub(crate) fn let_go(instance: &Entrypoint, container: &Container) {
    instance.until("complete");
    assert_eq!(instance.said("callback").len(), 1);
    assert!(container.complete().is_some());
    assert!(instance.is_alive(), "it waits to be ended");
}

/// Checks that an instance serves and was never asked to stop.
pub(crate) fn serves(instance: &Entrypoint, container: &Container) {
    assert!(instance.is_alive());
    assert!(instance.said("callback").is_empty());
    assert_eq!(container.complete(), None);
}
