//! Bytes that never change: a release that fails here cannot talk to its predecessor.

use std::fmt::Write as _;
use std::time::Duration;

use handover_proto::event::DrainReport;
use handover_proto::frame::{
    Decoded, FrameError, MAX_FRAME, VERSION_OLDEST, encode_from, encode_to, kind,
};
use handover_proto::identity::{Epoch, HandoverId, InstanceId, InstancePid};
use handover_proto::manifest::MAX_NAME;
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;

use crate::writer::{frame, raw, read_from, read_to};

const ID: HandoverId = HandoverId(5);
const REPORT: DrainReport = DrainReport {
    finished: 300,
    cut: 1,
    open: 0,
};

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes anything");
    }
    text
}

#[test]
fn hello_has_its_bytes() {
    let hello = FromInstance::Hello {
        instance: InstanceId(300),
        pid: InstancePid(77),
        role: Role::Incumbent,
        oldest: 1,
        newest: 2,
        lease: Some(Epoch(9)),
    };
    let golden: &[u8] = &[
        0x30, 0, 0, 0, // 48 bytes follow
        1, 0, 1, 0, // version 1, Hello
        1, 0, 2, 0, 0, 0, 0xac, 0x02, // instance 300
        2, 0, 1, 0, 0, 0, 77, // pid
        3, 0, 1, 0, 0, 0, 1, // Incumbent
        4, 0, 1, 0, 0, 0, 1, // oldest
        5, 0, 1, 0, 0, 0, 2, // newest
        6, 0, 2, 0, 0, 0, 1, 9, // lease: some, epoch 9
    ];
    assert_eq!(encode_from(&hello, 1), golden);
    assert_eq!(read_from(golden), Ok(Some(Decoded::Message(hello))));
}

#[test]
fn welcome_has_its_bytes() {
    let welcome = ToInstance::Welcome {
        version: 1,
        mode: Mode::Exclusive,
        incumbent: true,
        introduced: true,
    };
    let golden: &[u8] = &[
        0x20, 0, 0, 0, // 32 bytes follow
        1, 0, 1, 1, // version 1, Welcome
        1, 0, 1, 0, 0, 0, 1, // version
        2, 0, 1, 0, 0, 0, 1, // Exclusive
        3, 0, 1, 0, 0, 0, 1, // there is an incumbent
        4, 0, 1, 0, 0, 0, 1, // an introduction follows
    ];
    assert_eq!(encode_to(&welcome, 1), golden);
    assert_eq!(read_to(golden), Ok(Some(Decoded::Message(welcome))));
}

/// Kind and fields of every other message, without length and version.
#[test]
fn every_message_of_an_instance_has_its_bytes() {
    let reason = || "no".to_owned();
    let table = [
        (FromInstance::Warmed, "0200"),
        (
            FromInstance::Ready {
                claimed: vec!["a".into(), "bc".into()],
                lease: Some(Epoch(7)),
            },
            "0300 010006000000 020161026263 020002000000 0107",
        ),
        (
            FromInstance::Drained {
                id: ID,
                report: REPORT,
            },
            "0400 010001000000 05 020004000000 ac020100",
        ),
        (
            FromInstance::SealProgress {
                id: ID,
                done: 6,
                total: 7,
            },
            "0500 010001000000 05 020001000000 06 030001000000 07",
        ),
        (FromInstance::Sealed { id: ID }, "0600 010001000000 05"),
        (
            FromInstance::SealFailed {
                id: ID,
                reason: reason(),
            },
            "0700 010001000000 05 020003000000 026e6f",
        ),
        (
            FromInstance::Resumed {
                id: ID,
                lease: None,
            },
            "0800 010001000000 05 020001000000 00",
        ),
        (
            FromInstance::Failed { reason: reason() },
            "0900 010003000000 026e6f",
        ),
        (
            FromInstance::Status { text: reason() },
            "0a00 010003000000 026e6f",
        ),
        (
            FromInstance::Extend { millis: 1000 },
            "0b00 010002000000 e807",
        ),
        (
            FromInstance::Connections { open: 3 },
            "0c00 010001000000 03",
        ),
        (
            FromInstance::Retired { report: REPORT },
            "0d00 010004000000 ac020100",
        ),
    ];
    for (message, golden) in table {
        let bytes = encode_from(&message, 1);
        assert_eq!(hex(&bytes[6..]), golden.replace(' ', ""), "{message:?}");
        assert_eq!(read_from(&bytes), Ok(Some(Decoded::Message(message))));
    }
}

/// See above; the other direction.
#[test]
fn every_message_of_a_coordinator_has_its_bytes() {
    let ladder = Ladder {
        announce: Duration::ZERO,
        notify: Duration::from_secs(5),
        grace: Duration::from_nanos(1),
    };
    let table = [
        (
            ToInstance::Activate {
                id: ID,
                sealed: true,
            },
            "0201 010001000000 05 020001000000 01",
        ),
        (ToInstance::Commit { id: ID }, "0301 010001000000 05"),
        (
            ToInstance::Drain {
                id: ID,
                within_ms: 9,
            },
            "0401 010001000000 05 020001000000 09",
        ),
        (ToInstance::Seal { id: ID }, "0501 010001000000 05"),
        (ToInstance::Resume { id: ID }, "0601 010001000000 05"),
        (
            ToInstance::Retire { ladder },
            "0701 010006000000 0000 0500 0001",
        ),
        (ToInstance::Introduce { id: ID }, "0801 010001000000 05"),
        (
            ToInstance::Dismiss {
                reason: "no".to_owned(),
            },
            "0901 010003000000 026e6f",
        ),
    ];
    for (message, golden) in table {
        let bytes = encode_to(&message, 1);
        assert_eq!(hex(&bytes[6..]), golden.replace(' ', ""), "{message:?}");
        assert_eq!(read_to(&bytes), Ok(Some(Decoded::Message(message))));
    }
}

#[test]
fn a_missing_field_is_named() {
    let missing = |message, field| Err(FrameError::MissingField { message, field });
    let total = frame(1, kind::SEAL_PROGRESS, &[(1, &[5]), (2, &[6])]);
    assert_eq!(read_from(&total), missing("SealProgress", "total"));
    let lacking = frame(1, kind::RETIRE, &[]);
    assert_eq!(
        read_to(&lacking),
        Err(FrameError::MissingField {
            message: "Retire",
            field: "ladder"
        })
    );
}

#[test]
fn a_field_twice_is_refused_known_or_not() {
    for tag in [1, 900] {
        let twice = frame(1, kind::SEALED, &[(1, &[5]), (tag, &[5]), (tag, &[5])]);
        let message = "Sealed";
        assert_eq!(
            read_from(&twice),
            Err(FrameError::DuplicateField { message, tag })
        );
    }
}

#[test]
fn a_value_has_no_trailing_bytes() {
    assert_eq!(
        read_from(&frame(1, kind::SEALED, &[(1, &[5, 0])])),
        Err(FrameError::TrailingBytes {
            message: "Sealed",
            field: "id",
            expected: 1,
            found: 2
        })
    );
}

#[test]
fn a_value_that_is_not_of_its_type_is_named() {
    let fields: &[(u16, &[u8])] = &[(1, &[1]), (2, &[7]), (3, &[1])];
    assert_eq!(
        read_to(&frame(1, kind::WELCOME, fields)),
        Err(FrameError::BadValue {
            message: "Welcome",
            field: "mode",
            expected: "Mode",
            found: 1
        })
    );
    // Five million names are announced, none is there.
    let claimed = frame(1, kind::READY, &[(1, &[0xc0, 0x96, 0xb1, 0x02])]);
    assert_eq!(
        read_from(&claimed),
        Err(FrameError::BadValue {
            message: "Ready",
            field: "claimed",
            expected: "Vec<String>",
            found: 4
        })
    );
}

#[test]
fn a_frame_that_ends_within_a_field_is_refused() {
    let message = "Sealed";
    assert_eq!(
        read_from(&raw(1, kind::SEALED, &[1, 0, 1])),
        Err(FrameError::CutFieldHeader {
            message,
            expected: 6,
            found: 3
        })
    );
    assert_eq!(
        read_from(&raw(1, kind::SEALED, &[1, 0, 0xff, 0xff, 0xff, 0xff, 5, 6])),
        Err(FrameError::CutField {
            message,
            tag: 1,
            expected: u32::MAX,
            found: 2
        })
    );
    let nothing: &[u8] = &[3, 0, 0, 0, 1, 0, 1];
    assert_eq!(read_to(nothing), Err(FrameError::TooShort { found: 3 }));
}

#[test]
fn a_message_from_the_wrong_end_is_refused() {
    let seal = encode_to(&ToInstance::Seal { id: ID }, VERSION_OLDEST);
    assert_eq!(
        read_from(&seal),
        Err(FrameError::WrongDirection {
            message: "Seal",
            expected: "a coordinator",
            found: "an instance"
        })
    );
}

#[test]
fn words_are_cut_to_fit_at_a_character() {
    // Three bytes each, so that the limit falls into one.
    let long = "€".repeat(MAX_FRAME);
    for message in [
        FromInstance::Status { text: long.clone() },
        FromInstance::Failed {
            reason: long.clone(),
        },
        FromInstance::SealFailed {
            id: HandoverId(u64::MAX),
            reason: long.clone(),
        },
    ] {
        let name = message.name();
        let bytes = encode_from(&message, 1);
        assert!(bytes.len() <= 4 + MAX_FRAME, "{name}: {}", bytes.len());
        let kept = match read_from(&bytes) {
            Ok(Some(Decoded::Message(FromInstance::Status { text }))) => text,
            Ok(Some(Decoded::Message(
                FromInstance::Failed { reason } | FromInstance::SealFailed { reason, .. },
            ))) => reason,
            other => panic!("{name} became {other:?}"),
        };
        assert!(long.starts_with(&kept), "{name} was changed");
        assert!(kept.len() > MAX_FRAME - 200, "{name}: only {}", kept.len());
    }
    let bytes = encode_to(&ToInstance::Dismiss { reason: long }, 1);
    assert!(bytes.len() <= 4 + MAX_FRAME, "{}", bytes.len());
    let dismissal = read_to(&bytes);
    assert!(matches!(dismissal, Ok(Some(Decoded::Message(_)))));
}

#[test]
fn as_many_listeners_as_promised_fit() {
    let names = |count| (0..count).map(|n| format!("{n:0MAX_NAME$}")).collect();
    let all = FromInstance::Ready {
        claimed: names(250),
        lease: None,
    };
    let bytes = encode_from(&all, 1);
    assert_eq!(read_from(&bytes), Ok(Some(Decoded::Message(all))));

    let bytes = encode_from(
        &FromInstance::Ready {
            claimed: names(1000),
            lease: None,
        },
        1,
    );
    let Ok(Some(Decoded::Message(FromInstance::Ready { claimed, .. }))) = read_from(&bytes) else {
        panic!("a cut list is a list");
    };
    let expected: Vec<String> = names(claimed.len());
    assert_eq!(claimed, expected);
    assert!(claimed.len() >= 250, "only {}", claimed.len());
}
