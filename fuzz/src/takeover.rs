//! The takeover socket: what whoever connects sends to an incumbent, and what it answers.

use handover_proto::frame::{Decoded, MAX_FRAME};
use handover_proto::takeover::{Answer, Ask, Reader, StreamError, encode_answer, encode_ask};

/// Either direction, by the second byte. The first says how the rest is split; what is read must
/// not depend on it, and survives being written and read again.
pub fn takeover_frames(data: &[u8]) {
    let [split, side, stream @ ..] = data else {
        return;
    };
    let split = usize::from(*split).max(1);
    if side % 2 == 0 {
        let whole = read(stream, MAX_FRAME, Reader::next_ask);
        assert_eq!(whole, read(stream, split, Reader::next_ask));
        for ask in whole {
            let again = read(&encode_ask(&ask), MAX_FRAME, Reader::next_ask);
            assert_eq!(again, [ask]);
        }
    } else {
        let whole = read(stream, MAX_FRAME, Reader::next_answer);
        assert_eq!(whole, read(stream, split, Reader::next_answer));
        for answer in whole {
            let bytes = encode_answer(&answer, true);
            let again = read(&bytes, MAX_FRAME, Reader::next_answer);
            assert_eq!(again, [answer]);
        }
    }
}

/// All messages of a stream that comes in pieces, up to the first error, which is the end.
fn read<M>(
    stream: &[u8],
    split: usize,
    next: impl Fn(&mut Reader) -> Result<Option<Decoded<M>>, StreamError>,
) -> Vec<M> {
    let mut reader = Reader::new();
    let mut found = Vec::new();
    for piece in stream.chunks(split) {
        if reader.push(piece).is_err() {
            return found;
        }
        loop {
            match next(&mut reader) {
                Ok(Some(Decoded::Message(message))) => found.push(message),
                Ok(Some(Decoded::Unknown { .. })) => {}
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

pub mod seeds {
    use handover_proto::identity::{Generation, InstanceId, InstancePid};
    use handover_proto::manifest::{ListenerEntry, ListenerKind};
    use handover_proto::takeover::{Passed, RefusedFor};

    use super::{Answer, Ask, encode_answer, encode_ask};

    pub fn takeover_frames() -> Vec<Vec<u8>> {
        let take = Ask::Take {
            service: "web".into(),
            pid: InstancePid(7),
            network: Some(1),
            oldest: 1,
            newest: 1,
        };
        let listener = ListenerEntry {
            name: "http".into(),
            kind: ListenerKind::Tcp,
            address: "[::]:80".into(),
        };
        let entries = vec![Passed {
            listener,
            held: false,
        }];
        let granted = Answer::Granted {
            instance: InstanceId(2),
            generation: Generation(1),
            listeners: 1,
        };
        let refused = Answer::Refused {
            cause: RefusedFor::Busy,
            reason: "another handover is running".into(),
        };
        let asks = [take, Ask::Upgrade, Ask::Undo, Ask::Status];
        let asks = asks
            .iter()
            .map(|ask| [&[255, 0][..], &*encode_ask(ask)].concat());
        let mut all: Vec<_> = asks.collect();
        let mut answers = encode_answer(&granted, true);
        answers.extend(encode_answer(&Answer::Listeners { entries }, false));
        all.push([&[255, 1][..], &*answers].concat());
        all.push([&[3, 1][..], &*encode_answer(&refused, true)].concat());
        all
    }
}
