//! Told to stop while an attempt runs: what is said of who serves.

use crate::desk::*;

use handover_proto::coordinator::{Coordinator, Input};
use handover_proto::event::EventKind;
use handover_proto::identity::CandidateId;
use handover_proto::moment::Moment;
use handover_proto::outcome::{Cause, Outcome};
use handover_proto::phase::Mode;
use handover_proto::settings::Stop;

fn outcome_of_stopping(mut desk: Desk) -> Option<Outcome> {
    desk.tell(Input::Stop { how: Stop::Drain });
    desk.events.iter().find_map(|event| match event {
        EventKind::HandoverFinished { outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
}

#[test]
fn a_first_start_that_is_stopped_leaves_nobody() {
    let machine = Coordinator::new(Moment::ZERO, settings(Mode::Overlap), 1, CandidateId(1));
    let cause = Cause::Stopping;
    assert_eq!(
        outcome_of_stopping(Desk::new(machine, Moment::ZERO)),
        Some(Outcome::NobodyServes { cause })
    );
}

#[test]
fn an_upgrade_that_is_stopped_is_taken_back() {
    let cause = Cause::Stopping;
    let found = greeted(Mode::Overlap);
    // The first start has an outcome of its own.
    let found = Desk {
        events: Vec::new(),
        ..found
    };
    assert_eq!(
        outcome_of_stopping(found),
        Some(Outcome::RolledBack { cause })
    );
}
