//! Peers of handover-lib: announced to, obeyed, or not.

use handover_proto::container::event::{Event, Successor};
use handover_proto::container::peer::{Input, Phase};
use handover_proto::container::settings::{Legacy, Settings};
use handover_proto::moment::Moment;

use crate::desk::{Desk, WALL, millis, seconds};

fn with(legacy: Legacy) -> Settings {
    Settings {
        legacy,
        ..Settings::default()
    }
}

#[test]
fn a_younger_one_is_obeyed_once_it_is_known_for_no_echo() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    desk.run(seconds(10));
    let time_ms = desk.wall_ms() - 500;
    desk.say_legacy(time_ms);
    desk.run(millis(299));
    assert_eq!(desk.phase(0), Phase::Serving);
    desk.run(millis(2));
    assert_eq!(desk.phase(0), Phase::Retired);
    let by = Successor::Legacy { time_ms };
    assert_eq!(desk.seats[0].drains, [by]);
    assert_eq!(desk.seats[0].completed, [by]);
    // It repeats itself for ever, and drains nobody twice.
    desk.say_legacy(time_ms);
    desk.run(seconds(10));
    assert_eq!(desk.seats[0].drains.len(), 1);
}

#[test]
fn an_older_one_is_not() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    let own = desk.seats[0].peer.identity().legacy_ms;
    for time_ms in [own, own - 1, i64::MIN] {
        desk.say_legacy(time_ms);
        desk.run(seconds(1));
    }
    assert_eq!(desk.phase(0), Phase::Serving);
    desk.say_legacy(own + 1);
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Retired);
}

#[test]
fn the_future_is_refused_until_it_has_come() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    let time_ms = WALL + 5_000;
    let mut told = 0;
    for _ in 0..2 {
        desk.say_legacy(time_ms);
        desk.run(millis(1500));
        let events = desk.seats[0].events.iter();
        told = events.filter(|e| e.name() == "legacy_from_future").count();
    }
    assert_eq!((desk.phase(0), told), (Phase::Serving, 1));
    // Theirs repeats itself every 10 s.
    desk.run(seconds(7));
    desk.say_legacy(time_ms);
    desk.run(millis(301));
    assert_eq!(desk.phase(0), Phase::Retired);
}

#[test]
fn an_echo_is_known_whichever_comes_first() {
    for legacy_first in [false, true] {
        let mut desk = Desk::serving(with(Legacy::Obey));
        desk.run(seconds(10));
        let young = desk.start();
        desk.input(young, Input::Ready);
        let announced = desk.seats[young].sent[0].1.clone();
        let time_ms = desk.seats[young].peer.identity().legacy_ms;
        // Nothing else of it arrives.
        desk.die(young);
        let mut desk = Desk::serving(with(Legacy::Obey));
        desk.run(seconds(10));
        if legacy_first {
            desk.say_legacy(time_ms);
            desk.run(millis(200));
            desk.say(&announced);
        } else {
            desk.say(&announced);
            desk.say_legacy(time_ms);
        }
        desk.run(seconds(100));
        assert_eq!(desk.who_serves(), [0]);
        desk.say_legacy(time_ms + 1);
        desk.run(seconds(1));
        assert_eq!(desk.phase(0), Phase::Retired, "{legacy_first}");
    }
}

#[test]
fn an_echo_of_another_service_is_known_too() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    desk.run(seconds(10));
    let young = desk.start();
    desk.input(young, Input::Ready);
    let mut announced = desk.seats[young].sent[0].1.clone();
    announced.service = "db".into();
    let time_ms = desk.seats[young].peer.identity().legacy_ms;
    let mut desk = Desk::serving(with(Legacy::Obey));
    desk.run(seconds(10));
    desk.say(&announced);
    desk.say_legacy(time_ms);
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Serving);
}

#[test]
fn who_only_announces_warns_once_for_each() {
    let mut desk = Desk::serving(with(Legacy::Announce));
    desk.run(seconds(10));
    let time_ms = desk.wall_ms();
    for _ in 0..3 {
        desk.say_legacy(time_ms);
        desk.run(seconds(1));
    }
    let told = desk.seats[0].events.iter();
    let warned = told.filter(|e| **e == Event::LegacyNotObeyed { time_ms });
    assert_eq!(warned.count(), 1);
    assert_eq!(desk.phase(0), Phase::Serving);
    assert!(!desk.seats[0].sent_legacy.is_empty());
}

#[test]
fn who_wants_nothing_to_do_with_them_is_silent_and_deaf() {
    let mut desk = Desk::serving(with(Legacy::Off));
    desk.run(seconds(10));
    desk.say_legacy(desk.wall_ms());
    desk.run(seconds(100));
    assert_eq!(desk.phase(0), Phase::Serving);
    assert_eq!(desk.seats[0].sent_legacy, []);
    assert_eq!(desk.names_told(0), ["serving"]);
}

#[test]
fn they_are_told_fast_at_first_and_then_every_half_minute() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    desk.run(seconds(100));
    let sent = desk.seats[0].sent_legacy.iter();
    let at: Vec<_> = sent
        .map(|(at, _)| at.since(Moment::ZERO).as_millis())
        .collect();
    assert_eq!(at, [0, 100, 500, 2_100, 8_500, 38_500, 68_500, 98_500]);
}

#[test]
fn a_time_that_is_still_to_come_is_outdone() {
    let mut desk = Desk::new(with(Legacy::Obey));
    let young = desk.start();
    let from = desk.seats[young].peer.identity().legacy_ms;
    // An old release of theirs, from before the clock was stepped back.
    let ahead = WALL + 3_600_000;
    desk.say_legacy(ahead);
    desk.input(young, Input::Ready);
    let to = ahead + 1;
    assert_eq!(desk.seats[young].sent_legacy[0].1, to);
    assert!(desk.told(young, &Event::LegacyTimeRaised { from, to }));
    // The present is no reason.
    let mut desk = Desk::new(with(Legacy::Obey));
    let young = desk.start();
    desk.say_legacy(WALL + 500);
    assert_eq!(desk.seats[young].peer.identity().legacy_ms, from);
    desk.say_legacy(i64::MAX);
    desk.input(young, Input::Ready);
    assert_eq!(desk.seats[young].sent_legacy[0].1, i64::MAX);
}

#[test]
fn theirs_may_follow_while_ours_hands_over_to_ours() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    desk.run(seconds(10));
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk.run(seconds(2));
    assert_eq!(desk.phase(0), Phase::Probation);
    let time_ms = desk.wall_ms();
    desk.say_legacy(time_ms);
    desk.run(seconds(1));
    for seat in [0, 1] {
        let by = Successor::Legacy { time_ms };
        assert_eq!(desk.seats[seat].completed, [by]);
        assert_eq!(desk.seats[seat].drains.len(), 1);
    }
}

#[test]
fn ours_that_answers_takes_the_place_of_theirs() {
    let mut desk = Desk::serving(with(Legacy::Obey));
    desk.seats[0].obliging = false;
    desk.run(seconds(10));
    desk.say_legacy(desk.wall_ms());
    desk.run(seconds(1));
    assert_eq!(desk.phase(0), Phase::Draining);
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk.run(seconds(1));
    desk.input(0, Input::Drained);
    assert_eq!(desk.phase(0), Phase::Probation);
    desk.run(seconds(11));
    assert_eq!(desk.seats[0].completed.len(), 1);
    assert_eq!(desk.seats[0].drains.len(), 1);
}
