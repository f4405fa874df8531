//! Two and three instances hand over.

use handover_proto::container::envelope::EnvelopeError;
use handover_proto::container::event::{Cause, Event, Successor};
use handover_proto::container::message::Message;
use handover_proto::container::peer::{Input, Phase, Refusal};
use handover_proto::container::settings::{Legacy, Settings};
use handover_proto::moment::Machine;

use crate::desk::{Desk, millis, name, seconds};

fn quiet() -> Settings {
    Settings {
        legacy: Legacy::Off,
        ..Settings::default()
    }
}

/// The old one at seat 0, the young one at seat 1 just ready.
fn pair(settings: Settings) -> Desk {
    let mut desk = Desk::serving(settings);
    desk.run(seconds(100));
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk
}

#[test]
fn the_old_one_drains_at_once_and_lets_go_after_probation() {
    let mut desk = pair(Settings::default());
    desk.run(millis(10));
    assert_eq!(desk.phase(0), Phase::Probation);
    assert_eq!(desk.who_serves(), [1]);
    assert_eq!(desk.seats[0].drains.len(), 1);
    desk.run(millis(9980));
    assert_eq!(desk.seats[0].completed, []);
    desk.run(millis(100));
    assert_eq!(desk.phase(0), Phase::Retired);
    let order = desk.seats[1].peer.identity().order;
    let by = Successor::Peer {
        peer: name(2),
        order,
    };
    assert_eq!(desk.seats[0].completed, [by]);
    assert_eq!(
        desk.names_told(0),
        [
            "serving",
            "younger_heard",
            "draining",
            "probation",
            "committed"
        ]
    );
    desk.run(seconds(100));
    assert_eq!(
        desk.names_told(1),
        [
            "serving",
            "asked",
            "older_drains",
            "older_released",
            "older_committed"
        ]
    );
    // The young one is alone, and says so once a minute.
    let sent = desk.seats[1].sent.len();
    desk.run(seconds(600));
    assert_eq!(desk.seats[1].sent.len() - sent, 10);
    assert_eq!(desk.who_serves(), [1]);
}

#[test]
fn a_silent_young_one_is_taken_back_from() {
    let mut desk = pair(quiet());
    desk.run(millis(10));
    desk.die(1);
    desk.run(millis(4900));
    assert_eq!(desk.phase(0), Phase::Probation);
    desk.run(seconds(1));
    assert_eq!(desk.who_serves(), [0]);
    assert_eq!(
        (desk.seats[0].resumes, desk.seats[0].completed.len()),
        (1, 0)
    );
}

#[test]
fn a_young_one_that_was_only_cut_off_goes_in_its_turn() {
    let mut desk = pair(quiet());
    desk.run(millis(10));
    desk.cut_off(1);
    desk.run(seconds(6));
    assert_eq!(desk.who_serves(), [0, 1]);
    desk.cut.clear();
    desk.run(seconds(61));
    assert_eq!(desk.who_serves(), [0]);
    assert_eq!(desk.phase(1), Phase::Retired);
    assert_eq!(desk.seats[1].drains.len(), 1);
}

#[test]
fn a_young_one_that_fails_is_taken_back_from_at_once() {
    let mut desk = pair(quiet());
    desk.run(seconds(1));
    desk.input(1, Input::Failed);
    desk.run(millis(10));
    assert_eq!(desk.who_serves(), [0]);
    let cause = Cause::Withdrawn;
    let peer = name(2);
    assert!(desk.told(0, &Event::TakingBack { peer, cause }));
    assert!(desk.told(1, &Event::Failed { told: 1 }));
    assert!(desk.seats[1].left);
}

#[test]
fn a_drain_that_is_under_way_ends_before_the_program_comes_back() {
    let mut desk = Desk::serving(quiet());
    desk.seats[0].obliging = false;
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Draining);
    desk.input(1, Input::Failed);
    desk.run(seconds(10));
    assert_eq!((desk.phase(0), desk.seats[0].resumes), (Phase::Draining, 0));
    desk.input(0, Input::Drained);
    assert_eq!(
        (desk.phase(0), desk.seats[0].resumes),
        (Phase::TakingBack, 1)
    );
}

#[test]
fn a_young_one_that_is_heard_again_while_the_old_one_drains_keeps_its_place() {
    let mut desk = Desk::serving(quiet());
    desk.seats[0].obliging = false;
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk.run(seconds(1));
    desk.cut_off(1);
    desk.run(seconds(6));
    desk.cut.clear();
    desk.run(seconds(2));
    desk.input(0, Input::Drained);
    desk.run(seconds(11));
    let told = desk.names_told(0);
    assert!(told.contains(&"successor_lost") && told.contains(&"successor_back"));
    assert_eq!((desk.phase(0), desk.seats[0].resumes), (Phase::Retired, 0));
}

#[test]
fn three_in_a_row_end_with_the_youngest() {
    let mut desk = pair(quiet());
    desk.run(seconds(3));
    let third = desk.start();
    desk.input(third, Input::Ready);
    desk.run(seconds(30));
    assert_eq!(desk.who_serves(), [2]);
    for old in [0, 1] {
        assert_eq!(desk.phase(old), Phase::Retired);
        let peers: Vec<_> = desk.seats[old]
            .completed
            .iter()
            .map(|by| match by {
                Successor::Peer { peer, .. } => *peer,
                Successor::Legacy { .. } | Successor::Nobody => panic!("{by:?}"),
            })
            .collect();
        assert_eq!(peers, [name(3)], "each lets go for the youngest");
    }
}

#[test]
fn three_in_a_row_and_the_last_one_dies() {
    let mut desk = pair(quiet());
    desk.run(seconds(3));
    let third = desk.start();
    desk.input(third, Input::Ready);
    desk.run(seconds(1));
    desk.die(third);
    desk.run(seconds(120));
    assert_eq!(desk.who_serves().len(), 1);
    let completed = desk.seats.iter().filter(|seat| !seat.completed.is_empty());
    assert_eq!(completed.count(), 1);
}

#[test]
fn two_of_one_moment_have_one_winner() {
    let mut desk = pair(quiet());
    desk.run(seconds(60));
    let twins = [desk.start(), desk.start()];
    for twin in twins {
        desk.input(twin, Input::Ready);
    }
    desk.run(seconds(60));
    assert_eq!(desk.who_serves(), [3]);
}

#[test]
fn without_a_way_back_the_young_one_need_only_have_heard() {
    let settings = Settings {
        can_resume: false,
        ..quiet()
    };
    let mut desk = pair(settings);
    desk.run(millis(20));
    assert_eq!(desk.phase(0), Phase::Retired);

    let mut desk = Desk::serving(settings);
    desk.seats[0].obliging = false;
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk.run(seconds(1));
    desk.die(young);
    desk.run(seconds(6));
    desk.input(0, Input::Drained);
    assert_eq!(desk.phase(0), Phase::Stranded);
    desk.run(seconds(600));
    assert_eq!(
        (desk.phase(0), desk.seats[0].completed.len()),
        (Phase::Stranded, 0)
    );
    // Another one comes, and finds it waiting.
    let third = desk.start();
    desk.input(third, Input::Ready);
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Retired);
}

#[test]
fn one_that_cannot_resume_says_so_and_waits_for_another() {
    let mut desk = pair(quiet());
    desk.seats[0].obliging = false;
    desk.run(millis(5));
    desk.input(0, Input::Drained);
    desk.die(1);
    desk.run(seconds(6));
    assert_eq!(desk.phase(0), Phase::TakingBack);
    desk.input(0, Input::CannotResume);
    assert_eq!(desk.phase(0), Phase::Stranded);
    assert!(desk.names_told(0).contains(&"nobody_serves"));
    let third = desk.start();
    desk.input(third, Input::Ready);
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Retired);
}

#[test]
fn told_to_stop_it_completes() {
    let mut desk = Desk::serving(quiet());
    desk.input(0, Input::Stop);
    assert_eq!(desk.seats[0].completed, [Successor::Nobody]);
    assert!(desk.seats[0].left);

    let mut desk = pair(quiet());
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Probation);
    desk.input(0, Input::Stop);
    assert_eq!(desk.seats[0].completed.len(), 1);
    assert!(desk.seats[0].left);
    desk.run(seconds(1));
    assert!(desk.told(1, &Event::OlderCommitted { peer: name(1) }));

    let mut desk = pair(quiet());
    desk.seats[0].obliging = false;
    desk.run(seconds(1));
    desk.input(0, Input::Stop);
    assert_eq!(desk.phase(0), Phase::Leaving);
    assert_eq!(
        (desk.seats[0].drains.len(), desk.seats[0].completed.len()),
        (1, 0)
    );
    desk.input(0, Input::Drained);
    assert_eq!(
        (desk.phase(0), desk.seats[0].completed.len()),
        (Phase::Left, 1)
    );
}

#[test]
fn told_to_stop_before_it_was_ready_it_has_nothing_to_complete() {
    let mut desk = Desk::new(quiet());
    let only = desk.start();
    desk.input(only, Input::Stop);
    assert!(desk.seats[0].left);
    assert_eq!(desk.seats[0].completed, []);
    assert_eq!(desk.seats[0].drains, [Successor::Nobody]);
}

#[test]
fn a_young_one_told_to_stop_gives_back() {
    let mut desk = pair(quiet());
    desk.run(seconds(1));
    desk.input(1, Input::Stop);
    desk.run(seconds(1));
    assert_eq!(desk.who_serves(), [0]);
    assert!(desk.told(1, &Event::Stopping { told: 1 }));
}

#[test]
fn ready_while_it_goes_is_refused_aloud() {
    let mut desk = pair(quiet());
    desk.run(seconds(1));
    desk.input(0, Input::Ready);
    assert!(desk.told(0, &Event::ReadyRefused));
    assert_eq!(desk.phase(0), Phase::Probation);
}

#[test]
fn an_older_one_that_did_not_hear_is_told_again() {
    let mut desk = Desk::serving(quiet());
    let young = desk.start();
    desk.cut_off(young);
    desk.input(young, Input::Ready);
    desk.run(seconds(3600));
    assert_eq!(desk.who_serves(), [0, 1]);
    desk.cut.clear();
    // Either announces itself once a minute; the young one answers the old one's.
    desk.run(seconds(61));
    assert_eq!(desk.who_serves(), [1]);
    // A way that is back is used at once.
    let third = desk.start();
    desk.cut_off(third);
    desk.input(third, Input::Ready);
    desk.run(seconds(100));
    desk.cut.clear();
    desk.input(third, Input::Reachable);
    desk.run(seconds(1));
    assert_eq!(desk.who_serves(), [2]);
}

#[test]
fn whoever_asks_who_serves_is_told_and_a_flood_is_not() {
    let mut desk = Desk::serving(quiet());
    desk.run(seconds(100));
    let asker = desk.start();
    let sent = |desk: &Desk| {
        let said = desk.seats[0].sent.iter();
        said.filter(|(_, said)| matches!(said.message, Message::Announce { .. }))
            .count()
    };
    let before = sent(&desk);
    let mut question = desk.seats[0].sent[0].1.clone();
    question.from = name(9);
    question.message = Message::Who;
    for sequence in 1..100 {
        question.sequence = sequence;
        desk.say(&question);
    }
    desk.run(seconds(1));
    let answers = sent(&desk) - before;
    assert!((1..=2).contains(&answers), "{answers}");
    assert_eq!(desk.phase(asker), Phase::Warming);
}

#[test]
fn whoever_has_left_says_nothing_more() {
    let mut desk = pair(Settings::default());
    desk.run(seconds(1));
    desk.input(0, Input::Stop);
    assert!(desk.seats[0].left);
    let mut elsewhere = desk.seats[1].sent[0].1.clone();
    elsewhere.sequence = 1_000;
    elsewhere.order.boot.0[0] = 1;
    // The desk allows no effect after the last.
    desk.say(&elsewhere);
    desk.input(0, Input::Refused(Refusal::Envelope(EnvelopeError::Forged)));
    desk.run(seconds(100));
    assert_eq!(desk.seats[0].peer.next_deadline(), None);
}
