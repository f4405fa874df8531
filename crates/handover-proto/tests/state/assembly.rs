//! The receiving side: what is in order is given out, everything else is refused by name.

use handover_proto::state::{
    Agreed, Arrival, Assembly, AssemblyError, Body, Budget, Decoded, Frame, ItemSpec, MAX_WAITING,
    Manifest, Need, Part, Piece, Received,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::samples::frame;

/// Any function will do for the machine.
fn sum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(7, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(*byte))
}

fn agreed() -> Vec<Agreed> {
    let item = |name: &str, version, need| Agreed {
        name: name.into(),
        version,
        need,
    };
    vec![
        item("must", 2, Need::Required),
        item("cache", 1, Need::BestEffort),
        item("log", 1, Need::BestEffort),
    ]
}

fn assembly() -> Assembly<u32> {
    Assembly::new(&agreed(), Budget::default(), sum)
}

fn inline(name: &str, version: u32, bytes: &[u8]) -> Frame {
    Frame::Item {
        name: name.into(),
        version,
        length: bytes.len() as u64,
        checksum: Some(sum(bytes)),
        body: Body::Inline(bytes.to_vec()),
    }
}

fn attached(name: &str, version: u32, length: u64) -> Frame {
    Frame::Item {
        name: name.into(),
        version,
        length,
        checksum: None,
        body: Body::Descriptor,
    }
}

fn segment(name: &str, seq: u64, bytes: &[u8]) -> Frame {
    Frame::Segment {
        name: name.into(),
        version: 1,
        seq,
        length: bytes.len() as u64,
        checksum: sum(bytes),
        body: Body::Inline(bytes.to_vec()),
    }
}

fn stream_end(name: &str, segments: &[&[u8]]) -> Frame {
    let sums: Vec<u8> = segments.iter().flat_map(|s| sum(s).to_le_bytes()).collect();
    Frame::StreamEnd {
        name: name.into(),
        version: 1,
        length: segments.iter().map(|s| s.len() as u64).sum(),
        checksum: sum(&sums),
    }
}

trait Feed {
    fn give(&mut self, frame: Frame) -> Result<Arrival<u32>, AssemblyError>;
    fn all(&mut self, frames: Vec<Frame>) -> Result<Arrival<u32>, AssemblyError>;
}

impl Feed for Assembly<u32> {
    fn give(&mut self, frame: Frame) -> Result<Arrival<u32>, AssemblyError> {
        self.accept(Decoded::Frame(frame))
    }

    /// What the last of them brings.
    fn all(&mut self, frames: Vec<Frame>) -> Result<Arrival<u32>, AssemblyError> {
        let mut last = Arrival::More;
        for frame in frames {
            last = self.give(frame)?;
        }
        Ok(last)
    }
}

fn whole(name: &str, version: u32, need: Need, pieces: Vec<Piece<u32>>) -> Received<u32> {
    Received {
        name: name.into(),
        version,
        need,
        length: pieces.iter().map(|piece| piece.length).sum(),
        pieces,
    }
}

fn piece(bytes: &[u8]) -> Piece<u32> {
    Piece {
        part: Part::Inline(bytes.to_vec()),
        length: bytes.len() as u64,
        checksum: Some(sum(bytes)),
    }
}

#[test]
fn a_base_and_a_delta_arrive() {
    let mut assembly = assembly();
    // The descriptor comes with the bytes of a frame that is not read yet.
    assembly.descriptor(40).expect("room");
    let base = assembly
        .all(vec![
            inline("cache", 1, b"warm"),
            attached("must", 2, 1000),
            Frame::BaseEnd,
        ])
        .expect("a base");
    let object = Piece {
        part: Part::Descriptor(40),
        length: 1000,
        checksum: None,
    };
    assert_eq!(
        base,
        Arrival::Base(vec![
            whole("cache", 1, Need::BestEffort, vec![piece(b"warm")]),
            whole("must", 2, Need::Required, vec![object]),
        ])
    );
    // The same names again, and a stream.
    assert_eq!(assembly.ended(), Err(AssemblyError::Ended { items: 2 }));
    let delta = assembly
        .all(vec![
            segment("log", 0, b"ab"),
            segment("log", 1, b"c"),
            stream_end("log", &[b"ab", b"c"]),
            inline("must", 2, b"x"),
            Frame::End {
                items: 4,
                bytes: 4 + 1000 + 3 + 1,
            },
        ])
        .expect("a delta");
    assert_eq!(
        delta,
        Arrival::Complete(vec![
            whole("log", 1, Need::BestEffort, vec![piece(b"ab"), piece(b"c")]),
            whole("must", 2, Need::Required, vec![piece(b"x")]),
        ])
    );
    assert!(assembly.is_complete());
    assert_eq!(assembly.ended(), Ok(()));
    assert_eq!((assembly.items(), assembly.bytes()), (4, 1008));
    assert_eq!(
        assembly.give(inline("cache", 1, b"")),
        Err(AssemblyError::OutOfOrder {
            expected: "nothing after End",
            found: "Item"
        })
    );
}

#[test]
fn what_was_not_agreed_on_is_refused() {
    let name = String::from("must");
    let cases = [
        (
            inline("other", 1, b""),
            AssemblyError::NotAgreed {
                name: "other".into(),
            },
        ),
        (
            inline("must", 1, b""),
            AssemblyError::WrongVersion {
                name: name.clone(),
                expected: 2,
                found: 1,
            },
        ),
        (
            attached("must", 2, 1),
            AssemblyError::NoDescriptor { name: name.clone() },
        ),
        (
            Frame::End { items: 0, bytes: 0 },
            AssemblyError::OutOfOrder {
                expected: "an item or BaseEnd",
                found: "End",
            },
        ),
        (
            Frame::Manifest(Manifest::new(vec![ItemSpec::required("a")])),
            AssemblyError::OutOfOrder {
                expected: "an item, BaseEnd or End",
                found: "Manifest",
            },
        ),
        (
            Frame::Refused {
                reason: "full".into(),
            },
            AssemblyError::Refused {
                reason: "full".into(),
            },
        ),
        (
            segment("log", 1, b""),
            AssemblyError::WrongSegment {
                name: "log".into(),
                expected: 0,
                found: 1,
            },
        ),
    ];
    for (frame, error) in cases {
        assert_eq!(assembly().give(frame), Err(error));
    }
    assert_eq!(
        assembly().all(vec![Frame::BaseEnd, Frame::BaseEnd]),
        Err(AssemblyError::OutOfOrder {
            expected: "an item or End",
            found: "BaseEnd"
        })
    );
    let twice = vec![inline("must", 2, b"1"), inline("must", 2, b"2")];
    let set = "base";
    assert_eq!(
        assembly().all(twice),
        Err(AssemblyError::Twice { name, set })
    );
}

#[test]
fn a_stream_is_whole_and_nobody_interrupts_it() {
    let begun = || vec![segment("log", 0, b"ab")];
    let then = |frame: Frame| assembly().all([begun(), vec![frame]].concat());
    let within = |found: &str| {
        Err(AssemblyError::WithinStream {
            name: "log".into(),
            expected: 1,
            found: found.into(),
        })
    };
    assert_eq!(then(inline("cache", 1, b"")), within("Item of \"cache\""));
    assert_eq!(
        then(segment("cache", 0, b"")),
        within("Segment of \"cache\"")
    );
    assert_eq!(then(Frame::BaseEnd), within("BaseEnd"));
    let wrong = |found| {
        Err(AssemblyError::WrongSegment {
            name: "log".into(),
            expected: 1,
            found,
        })
    };
    assert_eq!(then(segment("log", 0, b"")), wrong(0));
    assert_eq!(then(segment("log", 2, b"")), wrong(2));
    assert_eq!(
        then(stream_end("log", &[b"abc"])),
        Err(AssemblyError::WrongLength {
            what: "the stream of \"log\"".into(),
            expected: 3,
            found: 2
        })
    );
    // Required or not, a list of checksums that does not fit leaves nothing to give out.
    let left = then(stream_end("log", &[b"ba"])).expect("best effort");
    assert_eq!(left, Arrival::LeftOut { name: "log".into() });
    // An empty stream is an empty item.
    let empty = assembly().all(vec![stream_end("log", &[]), Frame::BaseEnd]);
    let log = whole("log", 1, Need::BestEffort, vec![]);
    assert_eq!(empty, Ok(Arrival::Base(vec![log])));
}

#[test]
fn damage_fails_what_is_required_and_leaves_out_the_rest() {
    let damaged = |name: &str, version| Frame::Item {
        name: name.into(),
        version,
        length: 1,
        checksum: Some(1),
        body: Body::Inline(vec![0]),
    };
    let found = sum(&[0]);
    assert_eq!(
        assembly().give(damaged("must", 2)),
        Err(AssemblyError::Damaged {
            name: "must".into(),
            expected: 1,
            found
        })
    );
    let mut assembly = assembly();
    let left = assembly.give(damaged("cache", 1)).expect("best effort");
    assert_eq!(
        left,
        Arrival::LeftOut {
            name: "cache".into()
        }
    );
    assert_eq!(assembly.give(Frame::BaseEnd), Ok(Arrival::Base(vec![])));
}

#[test]
fn the_end_says_what_there_was_and_nothing_required_is_missing() {
    let closed = |frames: Vec<Frame>, items, bytes| {
        let end = Frame::End { items, bytes };
        assembly().all([vec![Frame::BaseEnd], frames, vec![end]].concat())
    };
    assert_eq!(
        closed(vec![], 0, 0),
        Err(AssemblyError::Missing {
            names: vec!["must".into()]
        })
    );
    let must = || vec![inline("must", 2, b"xy")];
    assert_eq!(
        closed(must(), 2, 2),
        Err(AssemblyError::WrongCount {
            expected: 2,
            found: 1
        })
    );
    assert_eq!(
        closed(must(), 1, 3),
        Err(AssemblyError::WrongLength {
            what: "everything".into(),
            expected: 3,
            found: 2
        })
    );
    let mut assembly = assembly();
    assembly.descriptor(1).expect("room");
    let stray = vec![Frame::BaseEnd, Frame::End { items: 0, bytes: 0 }];
    assert_eq!(
        assembly.all(stray),
        Err(AssemblyError::StrayDescriptors { found: 1 })
    );
}

#[test]
fn a_budget_is_kept() {
    let tight = Budget {
        bytes: 10,
        items: 1,
    };
    let mut assembly: Assembly<u32> = Assembly::new(&agreed(), tight, sum);
    assembly.descriptor(1).expect("room");
    let (budget, found) = (10, u64::MAX);
    assert_eq!(
        assembly.give(attached("must", 2, u64::MAX)),
        Err(AssemblyError::TooMuch { budget, found })
    );
    let mut assembly: Assembly<u32> = Assembly::new(&agreed(), tight, sum);
    let two = vec![inline("must", 2, b""), inline("log", 1, b"")];
    let budget = 1;
    assert_eq!(
        assembly.all(two),
        Err(AssemblyError::TooManyItems { budget })
    );
    for n in 0..MAX_WAITING as u32 {
        assembly.descriptor(n).expect("room");
    }
    assert_eq!(
        assembly.descriptor(99),
        Err(AssemblyError::TooManyDescriptors)
    );
}

/// Its descriptor would otherwise be taken for the next frame's.
#[test]
fn a_frame_that_is_skipped_takes_its_descriptor_with_it() {
    let mut assembly = assembly();
    assembly.descriptor(1).expect("room");
    assembly.descriptor(2).expect("room");
    let skipped = Decoded::Unknown {
        kind: 0x7f00,
        has_descriptor: true,
    };
    assert_eq!(assembly.accept(skipped), Ok(Arrival::More));
    let base = assembly.all(vec![attached("must", 2, 1), Frame::BaseEnd]);
    let Ok(Arrival::Base(base)) = base else {
        panic!("a base: {base:?}");
    };
    assert_eq!(base[0].pieces[0].part, Part::Descriptor(2));
}

proptest! {
    /// Whatever comes in whatever order: no panic, never more than the budget, and a verdict only
    /// with everything required.
    #[test]
    fn any_frames_are_survived(frames in vec((frame(), any::<bool>()), 0..30)) {
        let budget = Budget { bytes: 1000, items: 5 };
        let items: Vec<Agreed> = agreed();
        let mut assembly: Assembly<u32> = Assembly::new(&items, budget, sum);
        for (frame, descriptor) in frames {
            if descriptor {
                let _ = assembly.descriptor(1);
            }
            let answer = assembly.give(frame);
            prop_assert!(assembly.bytes() <= budget.bytes && assembly.items() <= budget.items);
            if answer.is_err() {
                break;
            }
        }
        prop_assert!(!assembly.is_complete());
    }

    /// Every prefix of a good conversation is incomplete, the whole of it is not; and no change
    /// of order goes unnoticed by the sets.
    #[test]
    fn a_conversation_is_complete_at_its_end_only(
        must in vec(any::<u8>(), 0..50), segments in vec(vec(any::<u8>(), 0..20), 0..4),
    ) {
        let parts: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
        let mut frames: Vec<Frame> = (0u64..)
            .zip(&parts)
            .map(|(seq, part)| segment("log", seq, part))
            .collect();
        frames.push(stream_end("log", &parts));
        frames.push(Frame::BaseEnd);
        frames.push(inline("must", 2, &must));
        let bytes = must.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        frames.push(Frame::End { items: 2, bytes: bytes as u64 });
        let mut assembly = assembly();
        for frame in frames {
            prop_assert!(!assembly.is_complete());
            prop_assert!(assembly.ended().is_err());
            assembly.give(frame).expect("in order");
        }
        prop_assert!(assembly.is_complete());
    }
}
