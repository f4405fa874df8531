//! Back to the version before: by itself in probation, on request, and later.

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_tests::{http, load, process};
use rustix::process::Signal;

use super::Owner;

/// Longer than any test: it must not end by itself.
const PROBATION: [&str; 2] = ["--probation", "10min"];

fn taken_back(owner: &Owner) {
    owner.event("taken back", |event| match event {
        EventKind::TakenBack { .. } => Some(()),
        _ => None,
    });
    owner.until_serving();
}

/// I9, and I1 with an epoch more for each owner: old, new, old again.
fn fails_its_probation(fail: impl FnOnce(&Owner)) {
    let owner = Owner::start("old", "", &PROBATION);
    let writers = owner.writers();
    let old = owner.incumbent();
    owner.deploy("new", "");
    let outcome = owner.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    writers.go_on();
    assert!(owner.status().parked.is_some());
    fail(&owner);
    taken_back(&owner);
    assert_eq!(owner.incumbent(), old);
    writers.go_on();
    assert_eq!(http::version(owner.address()), "old");

    // The next attempt is an ordinary one.
    owner.deploy("newer", "");
    let outcome = owner.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    writers.go_on();
    http::until_version(owner.address(), "newer");
    let judgement = writers.finish();
    judgement.require_nothing_lost("a failed probation");
    let rising = judgement.epochs.windows(2).all(|two| two[0] < two[1]);
    assert!(
        rising && judgement.epochs.len() == 4,
        "{:?}",
        judgement.epochs
    );
}

#[test]
fn i1_the_old_one_takes_back_from_one_that_is_killed_in_probation() {
    fails_its_probation(|owner| process::signal(owner.incumbent(), Signal::KILL));
}

#[test]
fn i1_the_old_one_takes_back_on_request() {
    fails_its_probation(|owner| {
        let outcome = owner.undo();
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    });
}

/// There is nothing to undo without a parked instance, and the way back is a handover.
#[test]
fn after_the_probation_a_rollback_is_a_handover() {
    let owner = Owner::start("old", "", &["--probation", "300ms"]);
    let writers = owner.writers();
    owner.deploy("new", "");
    let outcome = owner.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    writers.go_on();
    owner.until("the probation is over", |status| status.parked.is_none());
    let outcome = owner.undo();
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    let outcome = owner.rollback();
    assert!(load::committed(&outcome), "{outcome}");
    http::until_version(owner.address(), "old");
    writers.go_on();
    writers.finish().require_unnoticed("a rollback");
}
