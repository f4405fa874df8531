//! Messages to bytes and back.

use handover_proto::beyond::{FrameError, HandoffId, MAX_FRAME, Message, Reader, Side, encode};
use handover_proto::identity::HandoverId;
use proptest::prelude::*;

use crate::samples::{ID, bytes, samples};

fn read(hex: &str) -> Result<Option<Message>, FrameError> {
    let mut reader = Reader::new();
    reader.push(&bytes(hex))?;
    reader.next_message()
}

#[test]
fn every_message_has_the_bytes_of_the_crate() {
    for (message, hex) in samples() {
        assert_eq!(encode(&message), bytes(&hex), "{}", message.name());
        assert_eq!(read(&hex), Ok(Some(message)));
    }
}

#[test]
fn a_stream_is_read_however_it_is_split() {
    let stream: Vec<u8> = samples().iter().flat_map(|(m, _)| encode(m)).collect();
    for size in [1, 2, 3, 7, 64, stream.len()] {
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for chunk in stream.chunks(size) {
            reader.push(chunk).expect("room");
            while let Some(message) = reader.next_message().expect("a message") {
                found.push(message);
            }
        }
        let expected: Vec<_> = samples().into_iter().map(|(message, _)| message).collect();
        assert_eq!(found, expected);
        assert_eq!(reader.finish(), Ok(()));
    }
}

#[test]
fn a_frame_longer_than_allowed_is_refused_before_it_arrives() {
    for length in [MAX_FRAME as u32 + 1, u32::MAX] {
        let mut reader = Reader::new();
        reader.push(&length.to_le_bytes()).expect("room");
        let refused = Err(FrameError::TooLong { found: length });
        assert_eq!(reader.next_message(), refused);
        assert!(matches!(reader.push(&[0]), Err(FrameError::TooLong { .. })));
    }
}

#[test]
fn a_frame_without_a_version_is_refused() {
    assert_eq!(read("0100000001"), Err(FrameError::TooShort { found: 1 }));
}

#[test]
fn only_a_greeting_may_be_of_another_version() {
    assert!(matches!(
        read("0c00000007000001922102abcd010700"),
        Ok(Some(Message::Hello { newest: 7, .. }))
    ));
    let late = read("06000000020003ac0201");
    let (message, found) = ("Drained", 2);
    assert_eq!(late, Err(FrameError::UnsupportedVersion { message, found }));
}

#[test]
fn what_is_no_message_says_why() {
    let cut = |message, field| Err(FrameError::Cut { message, field });
    assert_eq!(
        read("0300000001000e"),
        Err(FrameError::UnknownMessage { found: 14 })
    );
    assert_eq!(
        read("03000000010003"),
        cut("Drained", "open_conns_remaining")
    );
    assert_eq!(read("0400000001000810"), cut("Begin", "handoff_id"));
    let bad = |message, field, expected| {
        Err(FrameError::BadValue {
            message,
            field,
            expected,
        })
    };
    // Two in a bool, six bytes in a u32, two bits too many in the last byte of one.
    assert_eq!(
        read("050000000100030002"),
        bad("Drained", "accept_closed", "bool")
    );
    assert_eq!(
        read("0900000001000380808080808001"),
        bad("Drained", "open_conns_remaining", "u32")
    );
    assert_eq!(
        read("08000000010003ffffffff1f"),
        bad("Drained", "open_conns_remaining", "u32")
    );
}

#[test]
fn a_list_is_not_believed_before_it_is_there() {
    // SealComplete that claims 2^63 revisions and has one.
    let hex = concat!(
        "1f000000010006",
        "10000102030405060708090a0b0c0d0e0f",
        "80808080808080808001",
        "07"
    );
    let message = "SealComplete";
    let field = "last_revision_per_shard";
    assert_eq!(read(hex), Err(FrameError::Cut { message, field }));
}

#[test]
fn words_are_cut_to_fit() {
    let reason = "é".repeat(MAX_FRAME);
    let frame = encode(&Message::Abort { id: ID, reason });
    assert!(frame.len() < MAX_FRAME);
    let mut reader = Reader::new();
    reader.push(&frame).expect("room");
    let Ok(Some(Message::Abort { reason, .. })) = reader.next_message() else {
        panic!("no abort");
    };
    assert!(reason.chars().all(|c| c == 'é'));
}

#[test]
fn an_attempt_keeps_its_number() {
    for id in [HandoverId::new(0, 1), HandoverId(u64::MAX), HandoverId(0)] {
        let theirs = HandoffId::of(id);
        assert_eq!(&theirs.to_string()[14..15], "8", "a UUID of version 8");
        assert!(matches!(theirs.0[8] >> 6, 0b10));
    }
    let (one, two) = (HandoverId::new(7, 1), HandoverId::new(7, 2));
    assert_ne!(HandoffId::of(one), HandoffId::of(two));
    assert_ne!(ID.number(), HandoffId::of(one).number());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16)) {
        let mut reader = Reader::new();
        for chunk in chunks {
            if reader.push(&chunk).is_err() {
                break;
            }
            while let Ok(Some(_)) = reader.next_message() {}
        }
    }

    #[test]
    fn no_message_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..96)) {
        let mut frame = (body.len() as u32 + 2).to_le_bytes().to_vec();
        frame.extend(1u16.to_le_bytes());
        frame.extend(body);
        let mut reader = Reader::new();
        reader.push(&frame).expect("room");
        if let Ok(Some(message)) = reader.next_message() {
            let mut again = Reader::new();
            again.push(&encode(&message)).expect("room");
            prop_assert_eq!(again.next_message(), Ok(Some(message)));
        }
    }
}

#[test]
fn a_greeting_of_ours_speaks_version_one() {
    let Message::Hello {
        oldest,
        newest,
        capabilities,
        ..
    } = Message::hello(Side::Incumbent, 1, b"")
    else {
        panic!("no greeting");
    };
    assert_eq!((oldest, newest, capabilities), (1, 1, 0));
}
