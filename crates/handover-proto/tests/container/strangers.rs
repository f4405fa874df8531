//! C4: what does not concern an instance, or cannot be believed, changes nothing.

use handover_proto::container::envelope::{Envelope, EnvelopeError};
use handover_proto::container::event::Event;
use handover_proto::container::legacy::LegacyError;
use handover_proto::container::message::Message;
use handover_proto::container::peer::{Input, Phase, Refusal};
use handover_proto::container::settings::{Legacy, Settings};
use handover_proto::container::{Attempt, BootId, PeerId};

use crate::desk::{Desk, millis, name, order, seconds};

fn quiet() -> Settings {
    Settings {
        legacy: Legacy::Off,
        ..Settings::default()
    }
}

/// A younger instance that is not there: somebody says this in its name.
fn announced(sequence: u64) -> Envelope {
    Envelope {
        service: "api".into(),
        from: name(9),
        order: order(1_000),
        sequence,
        message: Message::Announce { legacy_ms: None },
    }
}

/// The question that was asked last.
fn question(desk: &Desk) -> Option<Attempt> {
    let said = desk.seats[0].sent.iter().rev();
    said.filter_map(|(_, said)| match said.message {
        Message::Challenge { to, handover } if to == name(9) => Some(handover),
        _ => None,
    })
    .next()
}

#[test]
fn an_announcement_alone_retires_nobody() {
    let mut desk = Desk::serving(quiet());
    desk.say(&announced(1));
    assert_eq!(desk.phase(0), Phase::Asking);
    desk.run(seconds(6));
    assert_eq!(desk.phase(0), Phase::Serving);
    let peer = name(9);
    let asked = seconds(5);
    assert!(desk.told(0, &Event::CandidateSilent { peer, asked }));
    assert_eq!(desk.seats[0].drains, []);
    // 20, 40, 80, 160, 320 ms, then every half second.
    let asked = desk.seats[0].sent.iter();
    let asked = asked.filter(|(_, said)| said.message.name() == "Challenge");
    assert_eq!(asked.count(), 14);
}

#[test]
fn the_answer_does() {
    let mut desk = Desk::serving(quiet());
    desk.say(&announced(1));
    let handover = question(&desk).unwrap();
    let to = name(1);
    let wrong = Attempt([7; 16]);
    let confirm = |sequence, handover| Envelope {
        message: Message::Confirm { to, handover },
        ..announced(sequence)
    };
    desk.say(&confirm(2, wrong));
    assert_eq!(desk.phase(0), Phase::Asking);
    // Replayed: its sequence was heard.
    desk.say(&confirm(2, handover));
    assert_eq!(desk.phase(0), Phase::Asking);
    // Of another one.
    desk.say(&Envelope {
        from: name(8),
        ..confirm(3, handover)
    });
    assert_eq!(desk.phase(0), Phase::Asking);
    // Not younger any more.
    desk.say(&Envelope {
        order: order(0),
        ..confirm(3, handover)
    });
    assert_eq!(desk.phase(0), Phase::Asking);
    desk.say(&confirm(4, handover));
    assert_eq!(desk.phase(0), Phase::Probation);
}

#[test]
fn every_question_has_its_own_name() {
    let mut desk = Desk::serving(quiet());
    let mut names = Vec::new();
    for sequence in 1..10 {
        desk.say(&announced(sequence));
        names.push(question(&desk).unwrap());
        desk.run(seconds(6));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 9);
}

#[test]
fn another_service_another_device_and_an_older_one_are_ignored() {
    let mut desk = Desk::serving(quiet());
    let elsewhere = |sequence| {
        let mut envelope = announced(sequence);
        envelope.order.boot = BootId([1; 16]);
        envelope
    };
    desk.say(&Envelope {
        service: "db".into(),
        ..announced(1)
    });
    desk.say(&elsewhere(2));
    desk.say(&elsewhere(3));
    desk.say(&Envelope {
        order: order(0),
        ..announced(4)
    });
    desk.run(seconds(10));
    assert_eq!(question(&desk), None);
    let peer = name(9);
    let boot = BootId([1; 16]);
    let told = desk.seats[0].events.iter();
    let told = told.filter(|e| **e == Event::Elsewhere { peer, boot });
    assert_eq!(told.count(), 1);
    desk.say(&announced(5));
    assert!(question(&desk).is_some());
}

#[test]
fn a_recorded_announcement_is_heard_once() {
    let mut desk = Desk::serving(quiet());
    desk.say(&announced(5));
    desk.run(seconds(6));
    for old in [5, 4, 0] {
        desk.say(&announced(old));
        assert_eq!(desk.phase(0), Phase::Serving);
    }
    desk.say(&announced(6));
    assert_eq!(desk.phase(0), Phase::Asking);
}

#[test]
fn only_one_that_serves_confirms_and_only_to_an_older_one() {
    let mut desk = Desk::new(quiet());
    let seat = desk.start();
    let asks = |sequence, started| Envelope {
        order: order(started),
        message: Message::Challenge {
            to: name(1),
            handover: Attempt([5; 16]),
        },
        ..announced(sequence)
    };
    let confirms = |desk: &Desk| {
        let said = desk.seats[0].sent.iter();
        said.filter(|(_, said)| said.message.name() == "Confirm")
            .count()
    };
    desk.say(&asks(1, 0));
    assert_eq!(confirms(&desk), 0, "it is not ready");
    desk.input(seat, Input::Ready);
    desk.say(&asks(2, 1_000));
    assert_eq!(confirms(&desk), 0, "the other one is younger");
    desk.say(&asks(3, 0));
    assert_eq!(confirms(&desk), 1);
}

#[test]
fn nobody_but_the_successor_can_withdraw() {
    let mut desk = Desk::serving(quiet());
    let young = desk.start();
    desk.input(young, Input::Ready);
    desk.run(millis(100));
    let attempt = desk.seats[0].sent.iter().rev();
    let attempt = attempt
        .filter_map(|(_, said)| match said.message {
            Message::Released { handover, .. } => Some(handover),
            _ => None,
        })
        .next()
        .unwrap();
    let withdraws = |from: PeerId, sequence, handover| Envelope {
        from,
        message: Message::Withdraw {
            to: name(1),
            handover,
        },
        ..announced(sequence)
    };
    desk.say(&withdraws(name(9), 1, attempt));
    desk.say(&withdraws(name(2), 1_000, Attempt([7; 16])));
    assert_eq!(desk.phase(0), Phase::Probation);
    desk.say(&withdraws(name(2), 1_001, attempt));
    assert_eq!(desk.phase(0), Phase::Serving);
}

#[test]
fn refused_datagrams_are_told_once_a_minute() {
    let mut desk = Desk::serving(quiet());
    let short = Refusal::Legacy(LegacyError::Length { found: 3 });
    let forged = Refusal::Envelope(EnvelopeError::Forged);
    for _ in 0..10 {
        desk.input(0, Input::Refused(short));
        desk.input(0, Input::Refused(forged));
        desk.run(seconds(5));
    }
    desk.run(seconds(60));
    let told: Vec<_> = desk.seats[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Refused { count, last } => Some((*count, last.clone())),
            _ => None,
        })
        .collect();
    let first = (1, short.to_string());
    assert_eq!(told, [first, (19, forged.to_string())]);
    desk.run(seconds(600));
    assert_eq!(desk.phase(0), Phase::Serving);
}

/// Whatever anybody says, memory stays small: the machine's own words are what is measured.
#[test]
fn a_flood_fills_no_memory() {
    let mut desk = Desk::serving(Settings::default());
    desk.run(seconds(10));
    let mut sizes = Vec::new();
    for round in 0..4u64 {
        for at in 0..1_000u64 {
            let mut from = [0; 16];
            from[..8].copy_from_slice(&(round * 1_000 + at).to_be_bytes());
            from[15] = 1;
            let mut envelope = announced(1);
            envelope.from = PeerId(from);
            envelope.message = match at % 4 {
                0 => Message::Announce {
                    legacy_ms: Some(i64::try_from(at).unwrap()),
                },
                1 => {
                    envelope.order = order(0);
                    Message::Challenge {
                        to: name(1),
                        handover: Attempt(from),
                    }
                }
                2 => {
                    envelope.order.boot = BootId(from);
                    Message::Who
                }
                _ => Message::Who,
            };
            desk.say(&envelope);
            let wall_ms = desk.wall_ms();
            let time_ms = wall_ms + 100_000 + i64::try_from(at).unwrap();
            desk.input(0, Input::Legacy { time_ms, wall_ms });
        }
        sizes.push(format!("{:?}", desk.seats[0].peer).len());
        desk.run(seconds(1));
    }
    let first = sizes[0];
    assert!(
        sizes.iter().all(|size| *size < first + first / 4),
        "{sizes:?}"
    );
    assert!(first < 100_000, "{sizes:?}");
}
