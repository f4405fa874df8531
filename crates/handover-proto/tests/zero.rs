//! The ZERO exchange, machine by machine: what is said, when, and what of it can go wrong.

use handover_proto::moment::{Machine, Moment};
use handover_proto::zero::{
    Giver, GiverEffect, GiverInput, MOST_WAITING, PeerId, SERVES_ON, SHOWS_WITHIN, SLOW_AFTER,
    Taker, TakerEffect, TakerInput,
};

const START: Moment = Moment::ZERO;

fn of_giver(giver: &mut Giver, now: Moment, input: GiverInput<'_>) -> Vec<GiverEffect> {
    giver.handle(now, input);
    std::iter::from_fn(|| giver.poll_effect()).collect()
}

fn of_taker(taker: &mut Taker, now: Moment, input: TakerInput) -> Vec<TakerEffect> {
    taker.handle(now, input);
    std::iter::from_fn(|| taker.poll_effect()).collect()
}

fn connected(giver: &mut Giver, number: u64) -> PeerId {
    let peer = PeerId(number);
    let effects = of_giver(giver, START, GiverInput::Connected { peer, may: true });
    assert_eq!(effects, []);
    peer
}

/// A giver that was asked by the first and waits for the answer to go out; the second is silent.
fn giving() -> (Giver, PeerId, PeerId) {
    let mut giver = Giver::new();
    let (first, second) = (connected(&mut giver, 1), connected(&mut giver, 2));
    let bytes = b"ZERO";
    let effects = of_giver(&mut giver, START, GiverInput::Read { peer: first, bytes });
    assert_eq!(effects, [GiverEffect::Give { peer: first }]);
    (giver, first, second)
}

#[test]
fn exactly_four_bytes_in_one_read_are_a_request() {
    for bytes in [&b"ZER"[..], b"ZEROX", b"zero", b"", b"GET / HTTP/1.1"] {
        let mut giver = Giver::new();
        let peer = connected(&mut giver, 1);
        let effects = of_giver(&mut giver, START, GiverInput::Read { peer, bytes });
        assert_eq!(effects, [GiverEffect::Close { peer }], "{bytes:?}");
        let next = connected(&mut giver, 2);
        let bytes = b"ZERO";
        let effects = of_giver(&mut giver, START, GiverInput::Read { peer: next, bytes });
        assert_eq!(effects, [GiverEffect::Give { peer: next }]);
    }
}

#[test]
fn one_that_may_not_ask_is_closed_unheard() {
    let mut giver = Giver::new();
    let peer = PeerId(1);
    let effects = of_giver(
        &mut giver,
        START,
        GiverInput::Connected { peer, may: false },
    );
    assert_eq!(effects, [GiverEffect::Close { peer }]);
    let bytes = b"ZERO";
    let effects = of_giver(&mut giver, START, GiverInput::Read { peer, bytes });
    assert_eq!(effects, []);
}

#[test]
fn the_first_that_asks_wins_and_the_others_are_closed() {
    let (mut giver, first, second) = giving();
    let bytes = b"ZERO";
    let late = of_giver(
        &mut giver,
        START,
        GiverInput::Read {
            peer: second,
            bytes,
        },
    );
    assert_eq!(late, [GiverEffect::Close { peer: second }]);
    let third = connected(&mut giver, 3);
    let effects = of_giver(&mut giver, START, GiverInput::Sent { peer: first });
    let close = |peer| GiverEffect::Close { peer };
    assert_eq!(effects, [close(first), close(third), GiverEffect::Withdraw]);
    assert!(giver.has_given());
}

#[test]
fn it_serves_on_for_its_time_and_then_goes() {
    let (mut giver, first, _) = giving();
    of_giver(&mut giver, START, GiverInput::Sent { peer: first });
    assert_eq!(giver.next_deadline(), Some(START + SERVES_ON));
    let early = Moment::from_nanos(SERVES_ON.as_nanos() as u64 - 1);
    assert_eq!(of_giver(&mut giver, early, GiverInput::Tick), []);
    let effects = of_giver(&mut giver, START + SERVES_ON, GiverInput::Tick);
    assert_eq!(effects, [GiverEffect::Retire]);
}

/// I5, I9: whoever asked has gone; serving goes on and the next one may ask.
#[test]
fn i9_an_answer_that_does_not_go_out_changes_nothing() {
    let (mut giver, first, second) = giving();
    let effects = of_giver(&mut giver, START, GiverInput::NotSent { peer: first });
    assert_eq!(effects, [GiverEffect::Close { peer: first }]);
    let bytes = b"ZERO";
    let effects = of_giver(
        &mut giver,
        START,
        GiverInput::Read {
            peer: second,
            bytes,
        },
    );
    assert_eq!(effects, [GiverEffect::Give { peer: second }]);
}

#[test]
fn one_that_dies_after_it_took_over_is_stood_in_for() {
    let (mut giver, first, second) = giving();
    of_giver(&mut giver, START, GiverInput::Sent { peer: first });
    let other = of_giver(&mut giver, START, GiverInput::Died { peer: second });
    assert_eq!(other, []);
    let effects = of_giver(&mut giver, START, GiverInput::Died { peer: first });
    assert_eq!(effects, [GiverEffect::Renew]);
    assert_eq!(giver.next_deadline(), None);
    connected(&mut giver, 3);
}

#[test]
fn silent_connections_are_few() {
    let mut giver = Giver::new();
    for number in 0..MOST_WAITING as u64 {
        connected(&mut giver, number);
    }
    let peer = PeerId(99);
    let effects = of_giver(&mut giver, START, GiverInput::Connected { peer, may: true });
    assert_eq!(effects, [GiverEffect::Close { peer: PeerId(0) }]);
}

fn asked() -> Taker {
    let mut taker = Taker::new();
    assert_eq!(taker.next_deadline(), None);
    let effects = of_taker(&mut taker, START, TakerInput::Relieve);
    assert_eq!(effects, [TakerEffect::Say { bytes: *b"ZERO" }]);
    taker
}

/// I5: a version that fails has cost the incumbent nothing but a silent connection.
#[test]
fn i5_nothing_is_said_before_the_new_version_is_ready() {
    let mut taker = Taker::new();
    let effects = of_taker(&mut taker, START, TakerInput::LetGo);
    assert_eq!(effects, [TakerEffect::HangUp]);
    assert!(taker.is_over());
}

#[test]
fn one_descriptor_is_kept() {
    let mut taker = asked();
    let (bytes, descriptors) = (1, 1);
    let answer = TakerInput::Answered { bytes, descriptors };
    let effects = of_taker(&mut taker, START, answer);
    assert_eq!(effects, [TakerEffect::Keep, TakerEffect::HangUp]);
    assert!(taker.is_over());
}

/// I8: whatever else came is closed.
#[test]
fn i8_anything_else_is_no_answer() {
    for (bytes, descriptors) in [(5, 0), (1, 2)] {
        for mut taker in [asked(), Taker::new()] {
            let answer = TakerInput::Answered { bytes, descriptors };
            let effects = of_taker(&mut taker, START, answer);
            let wrong = TakerEffect::NotAnAnswer { bytes, descriptors };
            assert_eq!(effects, [wrong, TakerEffect::HangUp]);
        }
    }
}

/// Theirs dies of a request that it cannot answer, so it is never left behind.
#[test]
fn a_request_is_not_taken_back() {
    let mut taker = asked();
    assert_eq!(of_taker(&mut taker, START, TakerInput::LetGo), []);
    let later = START + SLOW_AFTER;
    assert_eq!(
        of_taker(&mut taker, later, TakerInput::Tick),
        [TakerEffect::Slow]
    );
    assert_eq!(taker.next_deadline(), Some(later + SLOW_AFTER));
}

#[test]
fn an_end_before_the_request_is_a_refusal() {
    let mut taker = Taker::new();
    let effects = of_taker(&mut taker, START, TakerInput::Closed);
    assert_eq!(effects, [TakerEffect::HangUp, TakerEffect::TurnedAway]);
    // The new version became ready at that moment: whoever serves there now is another taker.
    let effects = of_taker(&mut taker, START, TakerInput::Relieve);
    assert_eq!(effects, [TakerEffect::Look]);
    let effects = of_taker(&mut taker, START, TakerInput::Looked { served: true });
    assert_eq!(effects, [TakerEffect::Lost]);
}

#[test]
fn an_end_instead_of_an_answer_is_another_taker_or_nobody() {
    for (served, wanted) in [(true, TakerEffect::Lost), (false, TakerEffect::Alone)] {
        let mut taker = asked();
        let effects = of_taker(&mut taker, START, TakerInput::Closed);
        assert_eq!(effects, [TakerEffect::HangUp, TakerEffect::Look]);
        let mut said = Vec::new();
        for second in 0..=SHOWS_WITHIN.as_secs() {
            let now = START + std::time::Duration::from_secs(second);
            said.extend(of_taker(&mut taker, now, TakerInput::Tick));
            // It shows itself at the last look.
            let served = served && second == SHOWS_WITHIN.as_secs() - 1;
            said.extend(of_taker(&mut taker, now, TakerInput::Looked { served }));
        }
        assert_eq!(said.last(), Some(&wanted));
        assert!(taker.is_over());
    }
}

/// I11: the incumbent died; whoever is ready serves.
#[test]
fn i11_an_incumbent_that_died_leaves_the_new_version_alone() {
    for mut taker in [asked(), Taker::new()] {
        let effects = of_taker(&mut taker, START, TakerInput::Gone);
        assert_eq!(effects, [TakerEffect::HangUp, TakerEffect::Alone]);
    }
}
