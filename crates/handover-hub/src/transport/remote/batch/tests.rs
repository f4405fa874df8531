use std::time::Instant;

use bytes::Bytes;
use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId, Term};
use proptest::prelude::*;

use super::{Unpacked, pack, unpack};
use crate::transport::Frame;
use crate::transport::frame::{
    Call, Cast, Forward, Part, Redirect, Refusal, Refused, Replica, Reply, State,
};

const ID: CallId = CallId {
    caller: NodeId(u64::MAX),
    number: u64::MAX,
};
const EPOCH: Epoch = Epoch {
    term: Term(u64::MAX),
    grant: u64::MAX,
};
const ATTEMPT: MoveId = MoveId {
    home: NodeId(u64::MAX),
    number: u64::MAX,
};
const BODY: Bytes = Bytes::from_static(b"body");

fn process() -> ProcessId {
    ProcessId::new("alice").unwrap()
}

fn state(part: Part) -> Frame {
    Frame::State(State {
        attempt: ATTEMPT,
        process: process(),
        epoch: EPOCH,
        part,
    })
}

/// One of each, with numbers as large as they get.
fn frames() -> Vec<Frame> {
    let refused = |refusal| Frame::Refused(Refused { id: ID, refusal });
    let mut frames = vec![
        Frame::Control(BODY),
        refused(Refusal::Failed("reason".to_owned())),
        refused(Refusal::Epoch { found: EPOCH }),
        state(Part::Open { size: u64::MAX }),
        state(Part::Chunk {
            offset: u64::MAX,
            bytes: BODY,
        }),
        state(Part::Close { digest: [255; 32] }),
        state(Part::Abandon),
        Frame::Engine(BODY),
    ];
    frames.extend(frames_of_calls());
    frames.push(Frame::Forward(Forward {
        attempt: ATTEMPT,
        process: process(),
        epoch: EPOCH,
        number: u64::MAX,
        last: true,
        body: BODY,
    }));
    frames.push(Frame::Replica(Replica {
        process: process(),
        epoch: EPOCH,
        number: u64::MAX,
        body: BODY,
    }));
    frames
}

fn frames_of_calls() -> Vec<Frame> {
    let call = Call {
        id: ID,
        floor: u64::MAX,
        process: process(),
        epoch: EPOCH,
        patience_ms: u32::MAX,
        body: BODY,
    };
    let reply = Reply {
        id: ID,
        epoch: EPOCH,
        body: BODY,
    };
    let redirect = Redirect {
        id: ID,
        process: process(),
        to: NodeId(u64::MAX),
        epoch: EPOCH,
    };
    let cast = Cast {
        id: ID,
        process: process(),
        epoch: EPOCH,
        body: BODY,
    };
    vec![
        Frame::Call(call),
        Frame::Reply(reply),
        Frame::Redirect(redirect),
        Frame::Cast(cast),
    ]
}

fn packed(frames: &[Frame]) -> Bytes {
    let now = Instant::now();
    pack(frames.iter().map(|frame| (now, frame.clone())).collect())
}

#[test]
fn frames_come_out_as_they_went_in() {
    let unpacked = unpack(packed(&frames()));
    assert_eq!(
        unpacked,
        Unpacked {
            frames: frames(),
            unknown: 0
        }
    );
}

#[test]
fn a_frame_is_never_longer_than_its_weight() {
    for frame in frames() {
        assert!(packed(std::slice::from_ref(&frame)).len() <= frame.weight());
    }
}

#[test]
fn a_frame_of_a_newer_version_is_skipped_and_counted() {
    let mut message = packed(&frames()[..2]).to_vec();
    message.extend(3_u32.to_le_bytes());
    message.extend([200, 1, 2]);
    message.extend(packed(&frames()[2..]));
    let unpacked = unpack(message.into());
    assert_eq!(
        unpacked,
        Unpacked {
            frames: frames(),
            unknown: 1
        }
    );
}

proptest! {
    #[test]
    fn no_bytes_make_more_than_they_are(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let unpacked = unpack(bytes.clone().into());
        let weight: usize = unpacked.frames.iter().map(Frame::weight).sum();
        // A frame takes at least five bytes on the wire.
        prop_assert!(unpacked.frames.len() * 5 <= bytes.len());
        prop_assert!(weight <= bytes.len() * 20 + 96);
    }
}
