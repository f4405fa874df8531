use std::time::Instant;

use bytes::Bytes;
use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId, Term};
use proptest::prelude::*;

use super::{Unpacked, pack, unpack};
use crate::transport::Frame;
use crate::transport::frame::{
    Call, Cast, Forward, Part, Redirect, Refusal, Refused, Replica, Reply, State,
};

/// One of each, with numbers as large as they get.
fn frames() -> Vec<Frame> {
    let body = Bytes::from_static(b"body");
    let process = ProcessId::new("alice").unwrap();
    let id = CallId {
        caller: NodeId(u64::MAX),
        number: u64::MAX,
    };
    let epoch = Epoch {
        term: Term(u64::MAX),
        grant: u64::MAX,
    };
    let attempt = MoveId {
        home: NodeId(u64::MAX),
        number: u64::MAX,
    };
    let state = |part| {
        Frame::State(State {
            attempt,
            process: process.clone(),
            epoch,
            part,
        })
    };
    vec![
        Frame::Control(body.clone()),
        Frame::Call(Call {
            id,
            floor: u64::MAX,
            process: process.clone(),
            epoch,
            patience_ms: u32::MAX,
            body: body.clone(),
        }),
        Frame::Reply(Reply {
            id,
            epoch,
            body: body.clone(),
        }),
        Frame::Redirect(Redirect {
            id,
            process: process.clone(),
            to: NodeId(u64::MAX),
            epoch,
        }),
        Frame::Refused(Refused {
            id,
            refusal: Refusal::Failed("reason".to_owned()),
        }),
        Frame::Refused(Refused {
            id,
            refusal: Refusal::Epoch { found: epoch },
        }),
        Frame::Cast(Cast {
            id,
            process: process.clone(),
            epoch,
            body: body.clone(),
        }),
        state(Part::Open { size: u64::MAX }),
        state(Part::Chunk {
            offset: u64::MAX,
            bytes: body.clone(),
        }),
        state(Part::Close { digest: [255; 32] }),
        state(Part::Abandon),
        Frame::Forward(Forward {
            attempt,
            process: process.clone(),
            epoch,
            number: u64::MAX,
            last: true,
            body: body.clone(),
        }),
        Frame::Replica(Replica {
            process,
            epoch,
            number: u64::MAX,
            body: body.clone(),
        }),
        Frame::Engine(body),
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
