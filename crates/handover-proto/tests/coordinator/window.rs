//! The dark window: from when to when, and how long at most.

use crate::desk::*;
use std::time::Duration;

use handover_proto::coordinator::{Coordinator, Input};
use handover_proto::identity::CandidateId;
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::outcome::Exit;
use handover_proto::phase::Mode;
use handover_proto::settings::{Settings, WhenBusy};

#[test]
fn the_dark_window_lasts_from_drain_to_ready_or_to_resumed() {
    let second = Duration::from_secs(1);
    for commits in [true, false] {
        let mut desk = greeted(Mode::Exclusive);
        desk.later(second * 5);
        desk.hear(NEW, FromInstance::Warmed);
        desk.later(second);
        desk.hear(OLD, drained(UPGRADE));
        desk.later(second);
        desk.hear(OLD, FromInstance::Sealed { id: UPGRADE });
        desk.later(second);
        if commits {
            desk.hear(NEW, ready());
        } else {
            desk.tell(Input::Cancel);
            let exit = Exit::Signal(9);
            desk.tell(Input::Exited {
                instance: NEW,
                exit,
            });
            desk.hear(OLD, resumed(UPGRADE));
        }
        assert_eq!(desk.dark(), Some(second * 3), "commits: {commits}");
    }
}

#[test]
fn a_drain_is_told_no_more_time_than_the_dark_window_has() {
    let most = Duration::from_secs(3);
    let settings = Settings {
        max_dark: Some(most),
        ..settings(Mode::Exclusive)
    };
    let machine = Coordinator::new(Moment::ZERO, settings, 1, CandidateId(1));
    let mut desk = Desk::new(machine, Moment::ZERO);
    for instance in [OLD, NEW] {
        desk.hear(instance, hello(instance, Role::Successor, None));
        desk.hear(instance, FromInstance::Warmed);
        if instance == OLD {
            desk.hear(OLD, ready());
            desk.tell(Input::Upgrade {
                request: None,
                candidate: CandidateId(2),
                when_busy: WhenBusy::Queue,
            });
        }
    }
    let within_ms = 3000;
    let drain = ToInstance::Drain {
        id: UPGRADE,
        within_ms,
    };
    assert_eq!(desk.said().last(), Some(&(OLD, drain)));
    assert_eq!(desk.machine.next_deadline(), Some(desk.now + most));
}
