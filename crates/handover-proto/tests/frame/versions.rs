//! Peers of other versions: old reader and new data, new reader and old data.

use std::ops::RangeInclusive;

use handover_proto::event::DrainReport;
use handover_proto::frame::{
    Decoded, FrameError, Incompatible, VERSION_NEWEST, VERSION_OLDEST, encode_from, encode_to,
    kind, negotiate,
};
use handover_proto::identity::{HandoverId, InstanceId, InstancePid};
use handover_proto::message::{FromInstance, Role, ToInstance};
use handover_proto::phase::Mode;
use proptest::prelude::*;

use crate::samples::{from_instance, to_instance};
use crate::writer::{frame, read_from, read_to};

/// A kind that no version has yet.
const LATER: u16 = 0x7f00;

/// Adds a field to a frame, as a later version would.
fn extended(mut bytes: Vec<u8>, tag: u16, value: &[u8]) -> Vec<u8> {
    bytes.extend(tag.to_le_bytes());
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(value);
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

proptest! {
    /// Old reader, new data: fields of later versions change nothing.
    #[test]
    fn later_fields_are_skipped(
        from in from_instance(),
        to in to_instance(),
        tag in 7u16..,
        value in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let bytes = extended(encode_from(&from, 1), tag, &value);
        prop_assert_eq!(read_from(&bytes), Ok(Some(Decoded::Message(from))));
        let bytes = extended(encode_to(&to, 1), tag, &value);
        prop_assert_eq!(read_to(&bytes), Ok(Some(Decoded::Message(to))));
    }

    #[test]
    fn the_newest_common_version_is_agreed_from_both_sides(
        ours in any::<(u16, u16)>(), theirs in any::<(u16, u16)>(),
    ) {
        let (ours, theirs) = (ours.0..=ours.1, theirs.0..=theirs.1);
        let agreed = negotiate(ours.clone(), theirs.clone());
        let lowest = *ours.start().max(theirs.start());
        let highest = *ours.end().min(theirs.end());
        match &agreed {
            Ok(version) => {
                prop_assert!(ours.contains(version) && theirs.contains(version));
                prop_assert_eq!(*version, highest);
            }
            Err(_) => prop_assert!(lowest > highest),
        }
        prop_assert_eq!(agreed.ok(), negotiate(theirs, ours).ok());
    }
}

/// Old reader, new data: kinds of later versions are skipped, in either direction and whatever
/// version they name, unless they must not be.
#[test]
fn later_kinds_are_skipped_unless_they_must_be_understood() {
    for version in [VERSION_NEWEST, VERSION_NEWEST + 1] {
        // What is inside is none of our business.
        let mut later = frame(version, LATER, &[(1, b"new"), (1, b"rules")]);
        let skipped = Decoded::Unknown { kind: LATER };
        assert_eq!(read_from(&later), Ok(Some(skipped)));
        let skipped = Decoded::Unknown { kind: LATER };
        assert_eq!(read_to(&later), Ok(Some(skipped)));

        later[6..8].copy_from_slice(&(LATER | kind::MUST_UNDERSTAND).to_le_bytes());
        let refused = FrameError::MustUnderstand { kind: LATER };
        assert_eq!(read_from(&later), Err(refused.clone()));
        assert_eq!(read_to(&later), Err(refused));
    }
}

/// The bit is a demand, not a part of the kind.
#[test]
fn a_known_kind_that_must_be_understood_is_read() {
    let fields: &[(u16, &[u8])] = &[(1, &[5])];
    let marked = frame(1, kind::SEAL | kind::MUST_UNDERSTAND, fields);
    let seal = ToInstance::Seal { id: HandoverId(5) };
    assert_eq!(read_to(&marked), Ok(Some(Decoded::Message(seal))));
}

/// A whole conversation opened by a later version that still speaks ours.
#[test]
fn a_later_peer_greets_and_agrees_on_our_version() {
    // Its greeting names its own version and has a field we do not know.
    let fields: &[(u16, &[u8])] = &[
        (7, b"capabilities"),
        (1, &[4]),
        (2, &[9]),
        (3, &[0]),
        (4, &[1]),
        (5, &[7]),
        (6, &[0]),
    ];
    let greeting = read_from(&frame(7, kind::HELLO, fields));
    let Ok(Some(Decoded::Message(FromInstance::Hello { oldest, newest, .. }))) = greeting else {
        panic!("a greeting is readable whatever its version: {greeting:?}");
    };
    let agreed = negotiate(VERSION_OLDEST..=VERSION_NEWEST, oldest..=newest);
    assert_eq!(agreed, Ok(VERSION_NEWEST));
    // Tag 4 is missing: its writer knew a version without it.
    let fields: &[(u16, &[u8])] = &[(1, &[1]), (2, &[0]), (3, &[0]), (5, b"later")];
    assert_eq!(
        read_to(&frame(7, kind::WELCOME, fields)),
        Ok(Some(Decoded::Message(ToInstance::Welcome {
            version: 1,
            mode: Mode::Overlap,
            incumbent: false,
            introduced: false,
        })))
    );
}

#[test]
fn only_greetings_may_name_another_version() {
    let spoken = VERSION_OLDEST..=VERSION_NEWEST;
    for version in [VERSION_OLDEST - 1, VERSION_NEWEST + 1, u16::MAX] {
        assert!(!spoken.contains(&version));
        assert_eq!(
            read_from(&encode_from(&FromInstance::Warmed, version)),
            Err(FrameError::UnsupportedVersion {
                message: "Warmed",
                found: version
            })
        );
        let seal = ToInstance::Seal { id: HandoverId(1) };
        assert_eq!(
            read_to(&encode_to(&seal, version)),
            Err(FrameError::UnsupportedVersion {
                message: "Seal",
                found: version
            })
        );
        let welcome = ToInstance::Welcome {
            version,
            mode: Mode::Overlap,
            incumbent: true,
            introduced: false,
        };
        assert_eq!(
            read_to(&encode_to(&welcome, version)),
            Ok(Some(Decoded::Message(welcome)))
        );
    }
}

/// New reader, old data: what a writer without the defaulted fields says.
#[test]
fn defaulted_fields_may_be_missing() {
    let hello: &[(u16, &[u8])] = &[(1, &[4]), (2, &[9]), (3, &[0]), (4, &[1]), (5, &[1])];
    let report = DrainReport::default();
    let id = HandoverId(5);
    let claimed = Vec::new();
    for (bytes, message) in [
        (
            frame(1, kind::HELLO, hello),
            FromInstance::Hello {
                instance: InstanceId(4),
                pid: InstancePid(9),
                role: Role::Successor,
                oldest: 1,
                newest: 1,
                lease: None,
            },
        ),
        (
            frame(1, kind::READY, &[]),
            FromInstance::Ready {
                claimed,
                lease: None,
            },
        ),
        (
            frame(1, kind::RESUMED, &[(1, &[5])]),
            FromInstance::Resumed { id, lease: None },
        ),
        (
            frame(1, kind::DRAINED, &[(1, &[5])]),
            FromInstance::Drained { id, report },
        ),
        (
            frame(1, kind::RETIRED, &[]),
            FromInstance::Retired { report },
        ),
    ] {
        assert_eq!(read_from(&bytes), Ok(Some(Decoded::Message(message))));
    }
}

/// New reader, old data: a coordinator that introduces nobody does not say so.
/// Old reader, new data: an instance that knows no introduction takes the welcome and skips the
/// rest. What it knows is what it was built with, so it is spelled out here.
#[test]
fn a_welcome_without_an_introduction_is_one_that_has_none() {
    let old: &[(u16, &[u8])] = &[(1, &[1]), (2, &[1]), (3, &[1])];
    let welcome = |introduced| ToInstance::Welcome {
        version: 1,
        mode: Mode::Exclusive,
        incumbent: true,
        introduced,
    };
    let bytes = frame(1, kind::WELCOME, old);
    assert_eq!(read_to(&bytes), Ok(Some(Decoded::Message(welcome(false)))));
    // The new field is one more at the end, and changes none of the old ones.
    let bytes = extended(bytes, 4, &[1]);
    assert_eq!(encode_to(&welcome(true), 1), bytes);
    // Nothing demands that an introduction is understood.
    let id = HandoverId(5);
    let introduce = encode_to(&ToInstance::Introduce { id }, 1);
    let kind = u16::from_le_bytes([introduce[6], introduce[7]]);
    assert_eq!((kind, kind & kind::MUST_UNDERSTAND), (kind::INTRODUCE, 0));
}

/// Old reader, new data: an instance that knows no dismissal skips it, and finds the end of the
/// channel behind it.
#[test]
fn a_dismissal_need_not_be_understood() {
    let reason = "cancelled".to_owned();
    let dismiss = encode_to(&ToInstance::Dismiss { reason }, 1);
    let kind = u16::from_le_bytes([dismiss[6], dismiss[7]]);
    assert_eq!((kind, kind & kind::MUST_UNDERSTAND), (kind::DISMISS, 0));
}

#[test]
fn sides_without_a_common_version_are_told_who_is_behind() {
    let (old, new, empty) = (1..=2, 3..=4, RangeInclusive::new(2, 1));
    for (ours, theirs, advice) in [
        (old.clone(), new.clone(), "upgrade this side first"),
        (new, old.clone(), "build the other side"),
        (old, empty, "must name its oldest version first"),
    ] {
        let error = negotiate(ours.clone(), theirs.clone()).expect_err("nothing in common");
        assert!(error.to_string().contains(advice), "{error}");
        assert_eq!(error, Incompatible { ours, theirs });
    }
}
