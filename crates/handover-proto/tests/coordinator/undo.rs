//! The instance before the last commit is wanted back.

use crate::desk::*;
use std::time::Duration;

use handover_proto::coordinator::{Input, Signal};
use handover_proto::event::EventKind;
use handover_proto::identity::{CandidateId, Generation};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::outcome::{Cause, Exit, Outcome, Refusal};
use handover_proto::phase::{Mode, Phase};
use handover_proto::settings::WhenBusy;

#[test]
fn an_undo_in_overlap_mode_sends_the_new_one_away() {
    let mut desk = probation(Mode::Overlap);
    let request = Some(REQUEST);
    desk.tell(Input::Undo { request });
    serves(&desk, OLD);
    assert_eq!(
        desk.answers,
        [Outcome::Committed {
            generation: Generation(3),
            instance: OLD
        }]
    );
    assert_eq!(desk.answers[0].exit_code(), 0);
    assert_eq!(desk.machine.current(), CandidateId(1));
    assert_eq!(desk.machine.previous(), None);
    assert!(matches!(
        desk.said()[..],
        [(NEW, ToInstance::Retire { .. })]
    ));
    let taken = desk.events.iter().any(|event| {
        let cause = Cause::Undone;
        *event
            == EventKind::TakenBack {
                instance: OLD,
                cause,
            }
    });
    assert!(taken, "{:?}", desk.events);
}

#[test]
fn an_undo_in_exclusive_mode_seals_the_new_one_and_resumes_the_parked_one() {
    let mut desk = probation(Mode::Exclusive);
    let request = Some(REQUEST);
    desk.tell(Input::Undo { request });
    assert!(matches!(
        desk.said()[..],
        [(NEW, ToInstance::Drain { id: UNDO, .. })]
    ));
    assert_eq!(desk.phase(), Some((Phase::Drain, true)));
    desk.later(Duration::from_secs(1));
    desk.hear(NEW, drained(UNDO));
    assert_eq!(desk.said(), [(NEW, ToInstance::Seal { id: UNDO })]);
    assert_eq!(desk.phase(), Some((Phase::Seal, true)));
    desk.hear(NEW, FromInstance::Sealed { id: UNDO });
    // Under the attempt it was sealed under; it would ignore any other (I13).
    assert_eq!(desk.said(), [(OLD, ToInstance::Resume { id: UPGRADE })]);
    assert_eq!(desk.phase(), Some((Phase::Resume, true)));
    desk.later(Duration::from_secs(2));
    desk.hear(OLD, resumed(UPGRADE));
    serves(&desk, OLD);
    // Its responses in flight end by the ladder.
    assert!(matches!(
        desk.said()[..],
        [(NEW, ToInstance::Retire { .. })]
    ));
    assert_eq!(desk.answers[0].exit_code(), 0);
    assert_eq!(desk.dark(), Some(Duration::from_secs(3)));
}

#[test]
fn an_undo_that_fails_leads_back_into_probation() {
    type Fail = fn(&mut Desk);
    let failures: [(Fail, u8); 3] = [
        (
            |desk| {
                desk.hear(NEW, drained(UNDO));
                let reason = "disk".into();
                desk.hear(NEW, FromInstance::SealFailed { id: UNDO, reason });
            },
            10,
        ),
        (|desk| desk.tell(Input::Cancel), 10),
        (Desk::expire, 12),
    ];
    for (fail, code) in failures {
        let mut desk = undoing();
        desk.later(Duration::from_secs(1));
        fail(&mut desk);
        assert_eq!(desk.machine.state_name(), "Resuming");
        assert_eq!(
            desk.said().last(),
            Some(&(NEW, ToInstance::Resume { id: UNDO }))
        );
        desk.hear(NEW, resumed(UNDO));
        assert_eq!(desk.machine.state_name(), "Probation");
        assert_eq!(desk.answers[0].exit_code(), code);
        assert_eq!(desk.phase(), Some((Phase::Probation, false)));
        // And it can be tried again.
        desk.tell(Input::Undo { request: None });
        assert_eq!(desk.machine.state_name(), "UndoDraining");
    }
}

#[test]
fn a_parked_instance_that_dies_leaves_the_new_one_serving() {
    let exit = Exit::Signal(9);
    for mut desk in [undoing(), sealed()] {
        desk.tell(Input::Exited {
            instance: OLD,
            exit,
        });
        assert_eq!(
            desk.said().last(),
            Some(&(NEW, ToInstance::Resume { id: UNDO }))
        );
        desk.hear(NEW, resumed(UNDO));
        serves(&desk, NEW);
        assert_eq!(desk.answers[0].exit_code(), 10);
    }
}

#[test]
fn a_parked_instance_that_does_not_come_back_is_gone_before_the_new_one_is_told() {
    let mut desk = sealed();
    desk.said();
    desk.expire();
    assert_eq!(desk.signals, [(OLD, Signal::Kill)]);
    assert_eq!(desk.said(), []);
    let exit = Exit::Signal(9);
    desk.tell(Input::Exited {
        instance: OLD,
        exit,
    });
    assert_eq!(desk.said(), [(NEW, ToInstance::Resume { id: UNDO })]);
    desk.hear(NEW, resumed(UNDO));
    serves(&desk, NEW);
}

#[test]
fn a_new_instance_that_dies_leaves_the_parked_one_to_take_back() {
    let exit = Exit::Signal(9);
    for mut desk in [undoing(), sealed()] {
        desk.tell(Input::Exited {
            instance: NEW,
            exit,
        });
        assert_eq!(
            desk.said().last(),
            Some(&(OLD, ToInstance::Resume { id: UPGRADE }))
        );
        desk.hear(OLD, resumed(UPGRADE));
        serves(&desk, OLD);
        assert_eq!(desk.answers[0].exit_code(), 0);
    }
}

#[test]
fn outside_probation_there_is_nothing_to_undo() {
    let request = Some(REQUEST);
    for mut desk in [started(Mode::Exclusive), greeted(Mode::Exclusive)] {
        let state = desk.machine.state_name();
        desk.tell(Input::Undo { request });
        let refusal = Refusal::NothingToUndo;
        assert!(refusal.to_string().contains("`handover rollback`"));
        assert_eq!(desk.answers, [Outcome::Refused { refusal }]);
        assert_eq!(desk.answers[0].exit_code(), 11);
        assert_eq!(desk.machine.state_name(), state);
    }
    let mut desk = undoing();
    desk.tell(Input::Undo { request });
    let phase = Phase::Drain;
    let refusal = Refusal::Busy { phase };
    assert_eq!(desk.answers, [Outcome::Refused { refusal }]);
}

#[test]
fn a_request_that_comes_during_an_undo_waits_or_takes_its_place() {
    let upgrade = |when_busy| Input::Upgrade {
        request: None,
        candidate: CandidateId(3),
        when_busy,
    };
    let mut desk = undoing();
    desk.tell(upgrade(WhenBusy::Queue));
    desk.hear(NEW, drained(UNDO));
    desk.hear(NEW, FromInstance::Sealed { id: UNDO });
    desk.hear(OLD, resumed(UPGRADE));
    assert_eq!(desk.machine.state_name(), "Warming");
    assert_eq!(desk.machine.incumbent().map(|m| m.instance), Some(OLD));

    let mut desk = undoing();
    desk.tell(upgrade(WhenBusy::Supersede));
    desk.hear(NEW, resumed(UNDO));
    assert_eq!(desk.machine.state_name(), "Warming");
    assert_eq!(desk.machine.incumbent().map(|m| m.instance), Some(NEW));
}
