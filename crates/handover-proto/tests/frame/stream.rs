//! Streams: every split, any bytes, and what may wait.

use handover_proto::frame::{
    Decoded, FrameError, MAX_BUFFERED, MAX_FRAME, Reader, encode_from, encode_to, kind,
};
use handover_proto::message::FromInstance;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::{from_instance, to_instance};
use crate::writer::frame;

/// A frame with a header that is often known and a few fields of anything.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0u16..0x10, 0x100u16..0x109, any::<u16>()];
    let field = (0u16..8, vec(any::<u8>(), 0..12));
    (0u16..3, number, vec(field, 0..8)).prop_map(|(version, number, fields)| {
        let fields: Vec<_> = fields
            .iter()
            .map(|(tag, value)| (*tag, &value[..]))
            .collect();
        frame(version, number, &fields)
    })
}

/// Pushes the pieces and reads all there is after each.
macro_rules! read_all {
    ($pieces:expr, $next:ident) => {{
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for piece in $pieces {
            reader.push(piece).expect("there is room");
            while let Some(decoded) = reader.$next().expect("a frame") {
                found.push(decoded);
            }
        }
        reader.finish().expect("the end of a frame");
        assert_eq!(reader.buffered(), 0);
        found
    }};
}

proptest! {
    #[test]
    fn an_instance_is_understood_however_split(
        messages in vec(from_instance(), 1..4),
        piece in 1usize..40,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|m| encode_from(m, 1)).collect();
        let sent: Vec<_> = messages.into_iter().map(Decoded::Message).collect();
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            prop_assert_eq!(&read_all!([head, tail], next_from), &sent);
        }
        prop_assert_eq!(&read_all!(bytes.chunks(piece), next_from), &sent);
    }

    #[test]
    fn a_coordinator_is_understood_however_split(
        messages in vec(to_instance(), 1..4),
        piece in 1usize..40,
    ) {
        let bytes: Vec<u8> = messages.iter().flat_map(|m| encode_to(m, 1)).collect();
        let sent: Vec<_> = messages.into_iter().map(Decoded::Message).collect();
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            prop_assert_eq!(&read_all!([head, tail], next_to), &sent);
        }
        prop_assert_eq!(&read_all!(bytes.chunks(piece), next_to), &sent);
    }

    #[test]
    fn any_bytes_are_survived(pieces in vec(vec(any::<u8>(), 0..200), 0..20), to in any::<bool>()) {
        survive(&pieces, to);
    }

    /// Random bytes mostly announce too much; these get past the length word.
    #[test]
    fn any_frame_is_survived(
        frames in vec(any_frame(), 0..20),
        to in any::<bool>(),
    ) {
        survive(&frames, to);
    }

    /// A message with a few bytes changed is read as something, or refused.
    #[test]
    fn damage_is_survived(
        message in from_instance(),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode_from(&message, 1);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        survive(&[bytes], false);
    }
}

/// Reads until nothing more comes. Errors are fine; panics, endless reading and more waiting
/// bytes than allowed are not.
fn survive(pieces: &[Vec<u8>], to: bool) {
    let mut reader = Reader::new();
    let mut pushed = 0;
    for piece in pieces {
        if reader.push(piece).is_err() {
            break;
        }
        pushed += piece.len();
        let mut reads = 0;
        loop {
            let before = reader.buffered();
            let ended = if to {
                matches!(reader.next_to(), Ok(None) | Err(FrameError::TooLong { .. }))
            } else {
                matches!(
                    reader.next_from(),
                    Ok(None) | Err(FrameError::TooLong { .. })
                )
            };
            assert!(reader.buffered() <= MAX_BUFFERED.min(pushed));
            if ended {
                break;
            }
            assert!(reader.buffered() < before, "nothing was consumed");
            reads += 1;
            assert!(reads <= pushed, "reading does not end");
        }
        // What waits is less than one frame.
        assert!(reader.buffered() < 4 + MAX_FRAME);
    }
}

#[test]
fn four_gibibytes_are_refused_at_once_and_for_good() {
    let mut reader = Reader::new();
    let found = u32::MAX;
    reader.push(&found.to_le_bytes()[..3]).expect("room");
    assert_eq!(reader.next_from(), Ok(None));
    reader.push(&found.to_le_bytes()[3..]).expect("room");
    let refused = FrameError::TooLong { found };
    assert_eq!(reader.next_from(), Err(refused.clone()));
    assert_eq!(reader.buffered(), 0);
    let good = encode_from(&FromInstance::Warmed, 1);
    assert_eq!(reader.push(&good), Err(refused.clone()));
    assert_eq!(reader.next_from(), Err(refused.clone()));
    assert_eq!(reader.finish(), Err(refused));
}

#[test]
fn the_longest_frame_is_read_and_one_byte_more_is_not() {
    // Header of the frame and of the one field.
    let filler = vec![0; MAX_FRAME - 4 - 6];
    let longest = frame(1, kind::WARMED, &[(900, &filler)]);
    assert_eq!(longest.len(), 4 + MAX_FRAME);
    let found = read_all!(longest.chunks(4096), next_from);
    assert_eq!(found, [Decoded::Message(FromInstance::Warmed)]);

    let found = MAX_FRAME as u32 + 1;
    let mut reader = Reader::new();
    reader.push(&found.to_le_bytes()).expect("room");
    assert_eq!(reader.next_from(), Err(FrameError::TooLong { found }));
}

#[test]
fn what_waits_is_bounded_and_a_refused_push_changes_nothing() {
    let mut reader = Reader::new();
    let warmed = encode_from(&FromInstance::Warmed, 1);
    let many = warmed.repeat(MAX_BUFFERED / warmed.len());
    reader.push(&many).expect("room");
    let room = reader.room();
    assert_eq!(room, MAX_BUFFERED - many.len());
    assert_eq!(
        reader.push(&vec![0; room + 1]),
        Err(FrameError::Backlog {
            buffered: many.len(),
            pushed: room + 1
        })
    );
    let mut count = 0;
    while reader.next_from().expect("whole frames").is_some() {
        count += 1;
    }
    assert_eq!(count, many.len() / warmed.len());
    assert_eq!(reader.room(), MAX_BUFFERED);
}

#[test]
fn a_reader_that_is_read_always_takes_the_largest_push() {
    let filler = vec![0; MAX_FRAME - 4 - 6];
    let longest = frame(1, kind::WARMED, &[(900, &filler)]);
    // All but its last byte waits.
    let mut reader = Reader::new();
    reader.push(&longest[..longest.len() - 1]).expect("room");
    assert_eq!(reader.next_from(), Ok(None));
    let mut rest = vec![0];
    rest.extend(&longest);
    reader.push(&rest[..MAX_FRAME]).expect("room");
}

#[test]
fn the_next_frame_follows_a_refused_one() {
    let mut reader = Reader::new();
    reader.push(&frame(1, kind::SEALED, &[])).expect("room");
    reader
        .push(&encode_from(&FromInstance::Warmed, 1))
        .expect("room");
    assert!(matches!(
        reader.next_from(),
        Err(FrameError::MissingField { .. })
    ));
    assert_eq!(
        reader.next_from(),
        Ok(Some(Decoded::Message(FromInstance::Warmed)))
    );
}

#[test]
fn a_stream_that_ends_within_a_frame_is_noticed() {
    let bytes = encode_from(&FromInstance::Status { text: "up".into() }, 1).repeat(2);
    let one = bytes.len() / 2;
    for end in 0..=bytes.len() {
        let mut reader = Reader::new();
        reader.push(&bytes[..end]).expect("room");
        let found = end % one;
        let expected = if found < 4 { 4 } else { one };
        let verdict = match found {
            0 => Ok(()),
            _ => Err(FrameError::CutOff { expected, found }),
        };
        assert_eq!(reader.finish(), verdict, "cut after {end}");
        while reader.next_from().expect("whole frames").is_some() {}
        assert_eq!(reader.finish(), verdict, "cut after {end}, read");
    }
}
