//! The state channel: its frames, and what a successor makes of them.

use std::rc::Rc;

use handover_proto::state::{
    Arrival, Assembly, Budget, Decoded, Frame, FrameError, ItemSpec, MAX_FRAME, Manifest, Part,
    Reader, Received, Terms, VERSION_NEWEST, encode,
};

/// Frames. The first byte says how the rest is split; what is read must not depend on it, and
/// survives being written and read again.
pub fn state_frames(data: &[u8]) {
    let Some((&split, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, MAX_FRAME);
    assert_eq!(whole, read(stream, usize::from(split).max(1)));
    let mut again = Reader::new();
    let greeting = Frame::Manifest(manifest());
    for frame in whole.into_iter().flatten() {
        let Decoded::Frame(frame) = frame else {
            continue;
        };
        if !matches!(frame, Frame::Manifest(_)) {
            again = Reader::new();
            push(&mut again, &greeting);
            assert!(matches!(again.next_frame(), Ok(Some(_))));
        }
        push(&mut again, &frame);
        assert_eq!(again.next_frame(), Ok(Some(Decoded::Frame(frame))));
    }
}

fn push(reader: &mut Reader, frame: &Frame) {
    let pushed = reader.push(&encode(frame, VERSION_NEWEST));
    pushed.expect("a frame of ours is not too long");
}

/// All frames of a stream that comes in pieces, up to the first error, which is the end.
fn read(stream: &[u8], split: usize) -> Vec<Result<Decoded, FrameError>> {
    let mut reader = Reader::new();
    let mut found = Vec::new();
    for piece in stream.chunks(split) {
        reader.push(piece).expect("there is room");
        while let Some(frame) = reader.next_frame().transpose() {
            let over = frame.is_err();
            found.push(frame);
            if over {
                return found;
            }
        }
    }
    found
}

/// What this side lists.
fn manifest() -> Manifest {
    Manifest::new(vec![
        ItemSpec::required("a").versions(1..=3),
        ItemSpec::best_effort("b").versions(2..=2),
        ItemSpec::required("c"),
    ])
}

/// Weak, so that a search can find content with the right one.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

/// Everything a predecessor sends, by a successor's rules: nothing beyond the budget is kept, a set
/// that is complete lacks nothing, and every descriptor is either in it or was dropped (I8). A
/// descriptor comes with each frame that announces one, and with some that do not: the first byte
/// says with which.
pub fn assembly(data: &[u8]) {
    let Some((&stray, stream)) = data.split_first() else {
        return;
    };
    let mut frames = read(stream, MAX_FRAME).into_iter().flatten();
    let Some(Decoded::Frame(Frame::Manifest(theirs))) = frames.next() else {
        return;
    };
    let Ok(terms) = Terms::between(&theirs, &manifest()) else {
        return;
    };
    let budget = Budget {
        bytes: 1 << 20,
        items: 8,
    };
    let descriptors = Rc::new(());
    let mut held: Vec<Received<Rc<()>>> = Vec::new();
    let mut complete = false;
    {
        let mut assembly = Assembly::new(&terms.items, budget, checksum);
        for (at, frame) in frames.enumerate() {
            let announced = match &frame {
                Decoded::Frame(frame) => frame.has_descriptor(),
                Decoded::Unknown { has_descriptor, .. } => *has_descriptor,
            };
            let wrong = stray >> (at % 8) & 1 == 1;
            if announced != wrong && assembly.descriptor(Rc::clone(&descriptors)).is_err() {
                break;
            }
            match assembly.accept(frame) {
                Ok(Arrival::Base(set)) => held.extend(set),
                Ok(Arrival::Complete(set)) => {
                    held.extend(set);
                    complete = true;
                }
                Ok(_) => {}
                Err(_) => break,
            }
            assert!(assembly.bytes() <= budget.bytes && assembly.items() <= budget.items);
        }
        assert!(assembly.is_complete() == complete || assembly.ended().is_ok() == complete);
    }
    for name in ["a", "c"] {
        let there = held.iter().any(|item| item.name == name);
        let agreed = terms.items.iter().any(|item| item.name == name);
        assert!(!complete || !agreed || there, "{name} is missing");
    }
    let kept = held.iter().flat_map(|item| &item.pieces);
    let kept = kept.filter(|piece| matches!(piece.part, Part::Descriptor(_)));
    assert_eq!(Rc::strong_count(&descriptors), 1 + kept.count());
}

pub(crate) mod seeds {
    use handover_proto::state::{Body, VERSION_OLDEST};

    use super::*;

    fn stream(first: u8, frames: &[Frame]) -> Vec<u8> {
        let encoded = frames
            .iter()
            .flat_map(|frame| encode(frame, VERSION_OLDEST));
        std::iter::once(first).chain(encoded).collect()
    }

    fn item(name: &str, version: u32, bytes: &[u8]) -> Frame {
        Frame::Item {
            name: name.into(),
            version,
            length: bytes.len() as u64,
            checksum: Some(checksum(bytes)),
            body: Body::Inline(bytes.to_vec()),
        }
    }

    fn streamed(name: &str) -> [Frame; 3] {
        let segment = |seq, body, length, checksum| Frame::Segment {
            name: name.into(),
            version: 1,
            seq,
            length,
            checksum,
            body,
        };
        let sums = [3_u64, 900].map(u64::to_le_bytes).concat();
        [
            segment(0, Body::Inline(vec![1, 2]), 2, 3),
            segment(1, Body::Descriptor, 4096, 900),
            Frame::StreamEnd {
                name: name.into(),
                version: 1,
                length: 4098,
                checksum: checksum(&sums),
            },
        ]
    }

    /// A whole conversation: an item in the base, the rest in the delta.
    fn conversation() -> Vec<Frame> {
        let mut frames = vec![Frame::Manifest(manifest()), item("a", 3, b"base")];
        frames.push(Frame::BaseEnd);
        frames.push(item("a", 3, b"delta"));
        frames.push(Frame::Item {
            name: "b".into(),
            version: 2,
            length: 8192,
            checksum: None,
            body: Body::Descriptor,
        });
        frames.extend(streamed("c"));
        let bytes = 4 + 5 + 8192 + 4098;
        frames.push(Frame::End { items: 4, bytes });
        frames
    }

    pub(crate) fn assembly() -> Vec<Vec<u8>> {
        let refused = Frame::Refused {
            reason: "budget".into(),
        };
        vec![
            stream(0, &conversation()),
            stream(0, &[Frame::Manifest(manifest()), refused]),
            stream(2, &conversation()),
        ]
    }

    pub(crate) fn state_frames() -> Vec<Vec<u8>> {
        let mut seeds = assembly();
        seeds.push(stream(255, &conversation()));
        seeds.push(stream(255, &[Frame::Manifest(Manifest::new(Vec::new()))]));
        seeds
    }
}
