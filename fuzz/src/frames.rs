//! Native frames, in both directions.

use std::fmt::Debug;

use handover_proto::frame::{
    Decoded, FrameError, MAX_FRAME, Reader, VERSION_NEWEST, encode_from, encode_to,
};
use handover_proto::message::{FromInstance, ToInstance};

/// A step of a reader.
type Next<M> = fn(&mut Reader) -> Result<Option<Decoded<M>>, FrameError>;

/// What a coordinator reads.
pub fn frames_from(data: &[u8]) {
    channel(data, Reader::next_from, encode_from);
}

/// What an instance reads.
pub fn frames_to(data: &[u8]) {
    channel(data, Reader::next_to, encode_to);
}

/// The first byte says how the rest is split. What is read must not depend on it, and whatever is
/// read must survive being written and read again.
fn channel<M: Clone + Debug + PartialEq>(
    data: &[u8],
    next: Next<M>,
    encode: fn(&M, u16) -> Vec<u8>,
) {
    let Some((&split, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, MAX_FRAME, next);
    let split = read(stream, usize::from(split).max(1), next);
    assert_eq!(whole, split, "a frame reads differently when it is split");
    for frame in whole {
        let Ok(Decoded::Message(message)) = frame else {
            continue;
        };
        let bytes = encode(&message, VERSION_NEWEST);
        assert!(bytes.len() <= 4 + MAX_FRAME, "{} bytes", bytes.len());
        let again = read(&bytes, MAX_FRAME, next);
        assert_eq!(again, [Ok(Decoded::Message(message))]);
    }
}

/// All frames of a stream that comes in pieces of so many bytes, errors included.
fn read<M>(stream: &[u8], split: usize, next: Next<M>) -> Vec<Result<Decoded<M>, FrameError>> {
    let mut reader = Reader::new();
    let mut found = Vec::new();
    for piece in stream.chunks(split) {
        if let Err(error) = reader.push(piece) {
            assert!(matches!(error, FrameError::TooLong { .. }), "{error}");
            break;
        }
        while let Some(frame) = next(&mut reader).transpose() {
            let lost = matches!(frame, Err(FrameError::TooLong { .. }));
            found.push(frame);
            if lost {
                break;
            }
        }
    }
    found
}

pub(crate) mod seeds {
    use handover_proto::event::DrainReport;
    use handover_proto::frame::VERSION_OLDEST;
    use handover_proto::identity::{Epoch, HandoverId, InstanceId, InstancePid};
    use handover_proto::message::Role;
    use handover_proto::phase::Mode;
    use handover_proto::settings::Ladder;

    use super::*;

    /// Each alone and all in a row, split in pieces of three.
    fn streams<M>(messages: &[M], encode: fn(&M, u16) -> Vec<u8>) -> Vec<Vec<u8>> {
        let encoded = messages.iter().map(|m| encode(m, VERSION_OLDEST));
        let mut streams: Vec<_> = encoded.map(|bytes| [&[255][..], &bytes].concat()).collect();
        let all = streams.iter().flat_map(|stream| &stream[1..]).copied();
        streams.push(std::iter::once(3).chain(all).collect());
        streams
    }

    pub(crate) fn frames_from() -> Vec<Vec<u8>> {
        let id = HandoverId(7);
        let report = DrainReport::default();
        let messages = [
            FromInstance::Hello {
                instance: InstanceId(3),
                pid: InstancePid(4711),
                role: Role::Successor,
                oldest: 1,
                newest: 1,
                lease: Some(Epoch(5)),
            },
            FromInstance::Warmed,
            FromInstance::Ready {
                claimed: vec!["http".into(), "admin".into()],
                lease: Some(Epoch(6)),
            },
            FromInstance::Drained { id, report },
            FromInstance::SealProgress {
                id,
                done: 1,
                total: 2,
            },
            FromInstance::Sealed { id },
            FromInstance::SealFailed {
                id,
                reason: "no space left".into(),
            },
            FromInstance::Resumed {
                id,
                lease: Some(Epoch(7)),
            },
            FromInstance::Failed {
                reason: "cannot open".into(),
            },
            FromInstance::Status {
                text: "loading".into(),
            },
            FromInstance::Extend { millis: 500 },
            FromInstance::Connections { open: 12 },
            FromInstance::Retired { report },
        ];
        streams(&messages, encode_from)
    }

    pub(crate) fn frames_to() -> Vec<Vec<u8>> {
        let id = HandoverId(7);
        let messages = [
            ToInstance::Introduce { id },
            ToInstance::Activate { id, sealed: true },
            ToInstance::Commit { id },
            ToInstance::Drain { id, within_ms: 900 },
            ToInstance::Seal { id },
            ToInstance::Resume { id },
            ToInstance::Retire {
                ladder: Ladder::default(),
            },
            ToInstance::Dismiss {
                reason: "not ready in time".into(),
            },
        ];
        let mut seeds = streams(&messages, encode_to);
        // Fields are added to it: written from what the first version had.
        let welcome = (1u16, Mode::Exclusive, true);
        seeds.push(welcome_of_the_first_version(welcome));
        seeds
    }

    fn welcome_of_the_first_version((version, mode, incumbent): (u16, Mode, bool)) -> Vec<u8> {
        let fields: [(u16, u8); 3] = [
            (1, version as u8),
            (2, mode as u8),
            (3, u8::from(incumbent)),
        ];
        let mut frame = Vec::new();
        frame.extend(VERSION_OLDEST.to_le_bytes());
        frame.extend(handover_proto::frame::kind::WELCOME.to_le_bytes());
        for (tag, value) in fields {
            frame.extend(tag.to_le_bytes());
            frame.extend(1u32.to_le_bytes());
            frame.push(value);
        }
        let length = (frame.len() as u32).to_le_bytes();
        [&[255][..], &length, &frame].concat()
    }
}
