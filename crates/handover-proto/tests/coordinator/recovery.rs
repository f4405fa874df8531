//! Where the lease hangs, and where a word is lost with its channel.

use crate::desk::*;

use handover_proto::coordinator::{Coordinator, Input, Signal};
use handover_proto::event::DrainReport;
use handover_proto::identity::Epoch;
use handover_proto::journal::{Observation, recover};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;

/// A new coordinator finds two instances of which one holds the lease and hangs.
fn found(desk: &Desk) -> Desk {
    let record = desk.journal.clone().expect("a record");
    let alive = [OLD, NEW].map(|instance| (instance, pid(instance)));
    let observed = Observation {
        alive: alive.into(),
    };
    let found = recover(&record, &observed);
    let machine = Coordinator::recovered(desk.now, settings(Mode::Exclusive), 2, found);
    let desk = Desk::new(machine, desk.now);
    assert_eq!(desk.machine.state_name(), "Recovering");
    desk
}

#[test]
fn recovery_kills_the_youngest_that_hangs_and_the_one_that_stands_by_serves() {
    let mut activating = greeted(Mode::Exclusive);
    activating.hear(NEW, FromInstance::Warmed);
    activating.hear(OLD, drained(UPGRADE));
    activating.hear(OLD, FromInstance::Sealed { id: UPGRADE });
    for lost in [activating, undoing(), sealed()] {
        let mut desk = found(&lost);
        desk.expire();
        assert_eq!(desk.signals, [(NEW, Signal::Kill)]);
        assert_eq!(desk.machine.state_name(), "Recovering");
        desk.hear(OLD, hello(OLD, Role::Incumbent, Some(Epoch(9))));
        serves(&desk, OLD);
    }
}

/// Whichever of the two took the lease, an undo that lost its coordinator ends with it.
#[test]
fn recovery_of_an_undo_takes_whoever_has_the_lease() {
    for owner in [OLD, NEW] {
        for lost in [undoing(), sealed()] {
            let mut desk = found(&lost);
            desk.hear(owner, hello(owner, Role::Incumbent, Some(Epoch(9))));
            serves(&desk, owner);
        }
    }
}

/// Told to go on a channel that broke, it would wait for the end of its ladder.
#[test]
fn whoever_was_told_to_go_on_a_channel_that_broke_is_told_by_signal() {
    let mut desk = probation(Mode::Exclusive);
    desk.expire();
    assert!(matches!(
        desk.said()[..],
        [(OLD, ToInstance::Retire { .. })]
    ));
    desk.tell(Input::Closed { instance: OLD });
    assert_eq!(desk.signals, [(OLD, Signal::Term)]);

    // One that answered has heard.
    let mut desk = probation(Mode::Exclusive);
    desk.expire();
    let report = DrainReport::default();
    desk.hear(OLD, FromInstance::Retired { report });
    desk.tell(Input::Closed { instance: OLD });
    assert_eq!(desk.signals, []);
}
