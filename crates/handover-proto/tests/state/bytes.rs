//! Bytes that never change, and bytes that are refused.

use handover_proto::frame;
use handover_proto::state::{
    Body, Decoded, Frame, FrameError, ItemError, ItemSpec, MAX_FRAME, MAX_INLINE, MAX_ITEMS,
    MAX_NAME, MAX_REASON, Manifest, Reader, encode, kind,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::{frame, greeting, manifest, raw, read, read_first};

/// Kind and fields of every frame, without length and version.
fn whole() -> Vec<(Frame, &'static str)> {
    let name = || "ab".to_owned();
    let manifest = Frame::Manifest(Manifest {
        oldest: 1,
        newest: 2,
        items: vec![ItemSpec::required("ab").versions(1..=3)],
    });
    vec![
        (
            manifest,
            "0102 010004000000 484f7374 020001000000 01 030001000000 02 040006000000 026162010301",
        ),
        (
            Frame::Item {
                name: name(),
                version: 3,
                length: 2,
                checksum: Some(1),
                body: Body::Inline(vec![7, 8]),
            },
            "0202 010003000000 026162 020001000000 03 030001000000 02 040002000000 0101 \
             050002000000 0708",
        ),
        (
            Frame::Item {
                name: name(),
                version: 3,
                length: 300,
                checksum: None,
                body: Body::Descriptor,
            },
            "0202 010003000000 026162 020001000000 03 030002000000 ac02 040001000000 00 \
             060000000000",
        ),
    ]
}

/// See above; those that have parts of something, or end it.
fn parts() -> Vec<(Frame, &'static str)> {
    let name = || "ab".to_owned();
    vec![
        (
            Frame::Segment {
                name: name(),
                version: 3,
                seq: 4,
                length: 5,
                checksum: 6,
                body: Body::Descriptor,
            },
            "0302 010003000000 026162 020001000000 03 030001000000 05 040001000000 06 \
             060000000000 070001000000 04",
        ),
        (
            Frame::StreamEnd {
                name: name(),
                version: 3,
                length: 5,
                checksum: 6,
            },
            "0402 010003000000 026162 020001000000 03 030001000000 05 040001000000 06",
        ),
        (Frame::BaseEnd, "0502"),
        (
            Frame::End { items: 1, bytes: 2 },
            "0602 010001000000 01 020001000000 02",
        ),
        (
            Frame::Refused {
                reason: "no".into(),
            },
            "0702 010003000000 026e6f",
        ),
    ]
}

#[test]
fn every_frame_has_its_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    for (frame, golden) in whole().into_iter().chain(parts()) {
        let bytes = encode(&frame, 1);
        assert_eq!(hex(&bytes[6..]), golden.replace(' ', ""), "{frame:?}");
        let found = match frame {
            Frame::Manifest(_) => read_first(&bytes),
            _ => read(&bytes),
        };
        assert_eq!(found, Ok(Some(Decoded::Frame(frame))));
    }
}

proptest! {
    #[test]
    fn frames_are_understood_however_split(
        manifest in manifest(), frames in vec(frame(), 0..5), piece in 1usize..60,
    ) {
        let mut sent = vec![Frame::Manifest(manifest)];
        sent.extend(frames);
        let bytes: Vec<u8> = sent.iter().flat_map(|frame| encode(frame, 1)).collect();
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for chunk in bytes.chunks(piece) {
            reader.push(chunk).expect("room");
            while let Some(decoded) = reader.next_frame().expect("whole frames") {
                found.push(decoded);
            }
        }
        prop_assert_eq!(reader.finish(), Ok(()));
        let sent: Vec<_> = sent.into_iter().map(Decoded::Frame).collect();
        prop_assert_eq!(found, sent);
    }

    /// Old reader, new data.
    #[test]
    fn later_fields_are_skipped(frame in frame(), value in vec(any::<u8>(), 0..50)) {
        let mut bytes = encode(&frame, 1);
        bytes.extend(900u16.to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(value);
        let length = bytes.len() as u32 - 4;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        prop_assert_eq!(read(&bytes), Ok(Some(Decoded::Frame(frame))));
    }

    #[test]
    fn any_bytes_are_survived(greets in any::<bool>(), pieces in vec(vec(any::<u8>(), 0..200), 0..20)) {
        survive(greets, &pieces);
    }

    #[test]
    fn damage_is_survived(
        frame in frame(), damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encode(&frame, 1);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        survive(true, &[bytes]);
    }
}

fn survive(greets: bool, pieces: &[Vec<u8>]) {
    let mut reader = Reader::new();
    if greets {
        reader.push(&greeting()).expect("room");
    }
    for piece in pieces {
        if reader.push(piece).is_err() {
            return;
        }
        loop {
            let before = reader.buffered();
            match reader.next_frame() {
                Ok(None) | Err(FrameError::TooLong { .. }) => break,
                _ => assert!(reader.buffered() < before, "nothing was consumed"),
            }
        }
    }
}

#[test]
fn a_channel_begins_with_one_manifest_of_ours() {
    let end = encode(&Frame::BaseEnd, 1);
    assert_eq!(
        read_first(&end),
        Err(FrameError::NoManifest { found: "BaseEnd" })
    );
    assert_eq!(read(&greeting()), Err(FrameError::SecondManifest));
    let other = raw(
        1,
        kind::MANIFEST,
        &[(1, b"elsewhere"), (2, &[1]), (3, &[1])],
    );
    let found = b"elsewher".to_vec();
    assert_eq!(read_first(&other), Err(FrameError::NotOurs { found }));
    // The two kinds of channel mixed up.
    let hello = frame::encode_from(&handover_proto::message::FromInstance::Warmed, 1);
    assert_eq!(
        read_first(&hello),
        Err(FrameError::NoManifest {
            found: "a frame of unknown kind"
        })
    );
}

/// A later program greets in its own version and still offers ours.
#[test]
fn a_manifest_is_readable_whatever_its_version() {
    let fields: &[(u16, &[u8])] = &[
        (9, b"later"),
        (1, b"HOst"),
        (2, &[1]),
        (3, &[7]),
        (4, b"\x01a\x01\x02\x00"),
    ];
    let items = vec![ItemSpec::best_effort("a").versions(1..=2)];
    let manifest = Manifest {
        oldest: 1,
        newest: 7,
        items,
    };
    assert_eq!(
        read_first(&raw(7, kind::MANIFEST, fields)),
        Ok(Some(Decoded::Frame(Frame::Manifest(manifest))))
    );
    assert_eq!(
        read(&encode(&Frame::BaseEnd, 7)),
        Err(FrameError::UnsupportedVersion {
            frame: "BaseEnd",
            found: 7
        })
    );
}

#[test]
fn later_kinds_are_skipped_with_their_descriptors_unless_they_must_be_understood() {
    for (fields, has_descriptor) in [
        (&[(1, b"new".as_slice())][..], false),
        (&[(6, b"".as_slice())][..], true),
    ] {
        let kind = 0x7f00;
        let skipped = Decoded::Unknown {
            kind,
            has_descriptor,
        };
        assert_eq!(read(&raw(9, kind, fields)), Ok(Some(skipped)));
        let marked = raw(9, kind | kind::MUST_UNDERSTAND, fields);
        assert_eq!(read(&marked), Err(FrameError::MustUnderstand { kind }));
    }
}

#[test]
fn lengths_are_never_believed() {
    let mut reader = Reader::new();
    let found = MAX_FRAME as u32 + 1;
    reader.push(&found.to_le_bytes()).expect("room");
    assert_eq!(reader.next_frame(), Err(FrameError::TooLong { found }));
    assert_eq!(reader.push(&[0]), Err(FrameError::TooLong { found }));

    // A name of 2^32 bytes, of which none is there.
    let long = raw(1, kind::STREAM_END, &[(1, &[0xff, 0xff, 0xff, 0xff, 0x0f])]);
    let bad = frame::FrameError::BadValue {
        message: "StreamEnd",
        field: "name",
        expected: "String",
        found: 5,
    };
    assert_eq!(read(&long), Err(FrameError::Field(bad)));

    let items = b"\xff\xff\xff\xff\x0f".as_slice();
    let fields = &[(1, b"HOst".as_slice()), (2, &[1]), (3, &[1]), (4, items)];
    assert_eq!(
        read_first(&raw(1, kind::MANIFEST, fields)),
        Err(FrameError::BadItem {
            position: 0,
            found: 5
        })
    );
    assert_eq!(
        read(&raw(1, kind::END, &[])[..6]),
        Ok(None),
        "half a frame is none yet"
    );
    assert_eq!(
        read(&[2, 0, 0, 0, 1, 0]),
        Err(FrameError::TooShort { found: 2 })
    );
}

#[test]
fn the_largest_manifest_fits_and_one_item_more_does_not() {
    let item = |n: usize| ItemSpec {
        name: format!("{n:x>MAX_NAME$}"),
        oldest: u32::MAX,
        newest: u32::MAX,
        need: handover_proto::state::Need::Required,
    };
    let mut items: Vec<ItemSpec> = (0..MAX_ITEMS).map(item).collect();
    let largest = Frame::Manifest(Manifest::new(items.clone()));
    let bytes = encode(&largest, 1);
    assert!(bytes.len() < MAX_FRAME);
    assert_eq!(read_first(&bytes), Ok(Some(Decoded::Frame(largest))));

    items.push(ItemSpec::required("one more"));
    let found = MAX_ITEMS + 1;
    let bytes = encode(&Frame::Manifest(Manifest::new(items)), 1);
    assert_eq!(
        read_first(&bytes),
        Err(FrameError::Items(ItemError::TooMany { found }))
    );
    let twice = vec![ItemSpec::required("a"), ItemSpec::required("a")];
    assert_eq!(
        read_first(&encode(&Frame::Manifest(Manifest::new(twice)), 1)),
        Err(FrameError::Items(ItemError::Twice { name: "a".into() }))
    );
}

#[test]
fn content_is_in_the_frame_or_attached_and_as_long_as_it_says() {
    let head: &[(u16, &[u8])] = &[(1, b"\x01a"), (2, &[1]), (3, &[2])];
    let with = |more: &[(u16, &[u8])]| read(&raw(1, kind::ITEM, &[head, more].concat()));
    let frame = "Item";
    assert_eq!(with(&[]), Err(FrameError::NoBody { frame }));
    assert_eq!(
        with(&[(4, &[1, 1]), (5, b"xy"), (6, b"")]),
        Err(FrameError::TwoBodies { frame })
    );
    assert_eq!(with(&[(5, b"xy")]), Err(FrameError::NoChecksum { frame }));
    assert_eq!(
        with(&[(4, &[1, 1]), (5, b"xyz")]),
        Err(FrameError::WrongLength {
            frame,
            expected: 2,
            found: 3
        })
    );
    let found = MAX_INLINE + 1;
    assert_eq!(
        with(&[(5, &vec![0; found])]),
        Err(FrameError::LongBody { frame, found })
    );
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let reason = "é".repeat(MAX_REASON);
    let bytes = encode(&Frame::Refused { reason }, 1);
    let Ok(Some(Decoded::Frame(Frame::Refused { reason }))) = read(&bytes) else {
        panic!("a reason");
    };
    assert_eq!(reason, "é".repeat(MAX_REASON / 2));
}
