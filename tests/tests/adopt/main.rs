//! Servers that were started plainly are put under handover: under load, with new versions that
//! fail, and where it cannot be done.
//!
//! Needs the `handover` program beside it: `cargo xtask test` builds everything first.

mod failures;
mod nginx_signals;
mod refusals;
mod under_load;
mod unix_paths;

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_tests::Service;

/// The fixture server of this build.
const FIXTURE: &str = env!("CARGO_BIN_EXE_fixture");

/// How the first handover ended.
fn first_outcome(service: &Service) -> Outcome {
    service.event("the adoption is over", |event| match event {
        EventKind::HandoverFinished { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

/// Waits until the old program has gone.
fn until_gone(service: &Service) {
    service.event("the old program has ended", |event| match event {
        EventKind::InstanceExited { instance, .. } if instance.0 == 1 => Some(()),
        _ => None,
    });
}
