//! What programs of beyond-handoff say: our reading of it beside their own, and the machines that
//! translate it.

use std::time::Duration;

use handoff::frame::{read_message, write_message};
use handover_proto::beyond::{
    AsIncumbent, AsSuccessor, Aside, Birth, FrameError, Input, MAX_FRAME, Message, Peer, PeerInput,
    Reader, VERSION, encode,
};
use handover_proto::event::DrainReport;
use handover_proto::identity::{HandoverId, InstanceId, InstancePid};
use handover_proto::message::{FromInstance, ToInstance};
use handover_proto::moment::{Machine, Moment};
use handover_proto::settings::Ladder;

/// Most steps of a machine: no attempt takes more.
const STEPS: usize = 64;

/// Frames. The first byte says how the rest is split. What we read, the published crate reads as the
/// same message.
pub fn beyond_frames(data: &[u8]) {
    let Some((&split, stream)) = data.split_first() else {
        return;
    };
    let whole = read(stream, MAX_FRAME);
    assert_eq!(whole, read(stream, usize::from(split).max(1)));
    let mut rest = stream;
    for ours in whole {
        let theirs = read_message(&mut rest);
        let Ok(ours) = ours else {
            // After an error nothing more is read. We may refuse what they accept.
            return;
        };
        let (_, theirs) = theirs.expect("we accept what they refuse");
        let mut bytes = Vec::new();
        write_message(&mut bytes, VERSION, &theirs).expect("they can write what they read");
        assert_eq!(encode(&ours), bytes, "{ours:?} and {theirs:?}");
    }
}

/// All messages of a stream that comes in pieces, up to the first error.
fn read(stream: &[u8], split: usize) -> Vec<Result<Message, FrameError>> {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    for piece in stream.chunks(split) {
        reader.push(piece).expect("there is room");
        while let Some(message) = reader.next_message().transpose() {
            let over = message.is_err();
            found.push(message);
            if over {
                return found;
            }
        }
    }
    found
}

/// The machines between theirs and ours, told anything in any order: the first bytes say what
/// happens, the rest are the messages that the other side says meanwhile.
pub fn beyond_machines(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else {
        return;
    };
    let Some((&steps, data)) = data.split_first() else {
        return;
    };
    let (script, stream) = data.split_at(usize::from(steps).min(STEPS).min(data.len()));
    let messages = read(stream, MAX_FRAME);
    let mut messages = messages.into_iter().flatten();
    let now = Moment::ZERO;
    match kind % 5 {
        0 => play(
            AsIncumbent::new(now, 7, Vec::new(), Ladder::default()),
            script,
            |step| from_instance(step, &mut messages),
        ),
        1 => play(AsSuccessor::new(now, 7, Vec::new()), script, |step| {
            from_instance(step, &mut messages)
        }),
        birth => {
            let birth = [Birth::Successor, Birth::Cold, Birth::Found][usize::from(birth - 2)];
            let (instance, pid) = (InstanceId(3), InstancePid(7));
            let overall = Duration::from_secs(300);
            let peer = Peer::new(now, birth, instance, pid, HandoverId(5), overall);
            play(peer, script, |step| to_instance(step, &mut messages));
        }
    }
}

fn play<M: Machine>(mut machine: M, script: &[u8], mut input: impl FnMut(u8) -> Option<M::Input>) {
    let mut now = Moment::ZERO;
    for step in script {
        if let Some(input) = input(*step) {
            machine.handle(now, input);
        }
        let mut effects = 0;
        while machine.poll_effect().is_some() {
            effects += 1;
            assert!(effects < 1000, "effects without end");
        }
        // Some time, or as much as it waits for.
        let later = now + Duration::from_millis(u64::from(*step));
        now = match machine.next_deadline() {
            Some(deadline) if step % 4 == 0 => later.max(deadline),
            _ => later,
        };
    }
}

fn from_instance(step: u8, messages: &mut impl Iterator<Item = Message>) -> Option<Input> {
    let id = HandoverId(5);
    let report = DrainReport::default();
    let lease = None;
    Some(match step % 10 {
        0..=3 => Input::Heard(messages.next()?),
        4 => Input::Say(FromInstance::Warmed),
        5 => Input::Say(FromInstance::Ready {
            claimed: Vec::new(),
            lease,
        }),
        6 => Input::Say(FromInstance::Drained { id, report }),
        7 => Input::Say(FromInstance::Sealed { id }),
        8 => Input::Closed,
        _ => Input::Tick,
    })
}

fn to_instance(step: u8, messages: &mut impl Iterator<Item = Message>) -> Option<PeerInput> {
    let id = HandoverId(5);
    let say = |message| PeerInput::Say {
        message,
        aside: Aside::default(),
    };
    Some(match step % 12 {
        0..=3 => PeerInput::Heard(messages.next()?),
        4 => say(ToInstance::Activate { id, sealed: true }),
        5 => say(ToInstance::Drain {
            id,
            within_ms: 1000,
        }),
        6 => say(ToInstance::Seal { id }),
        7 => say(ToInstance::Commit { id }),
        8 => say(ToInstance::Resume { id }),
        9 => PeerInput::Connected,
        10 => PeerInput::Closed,
        _ => PeerInput::Tick,
    })
}

pub(crate) mod seeds {
    use handoff::protocol::{Capabilities, HandoffId, Message, PROTO_MAX, Side};

    fn written(messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            write(&mut bytes, message);
        }
        bytes
    }

    fn write(bytes: &mut Vec<u8>, message: &Message) {
        super::write_message(bytes, PROTO_MAX, message).expect("they can write it");
    }

    fn hello(role: Side) -> Message {
        Message::Hello {
            role,
            pid: 7,
            build_id: b"1.2.3".to_vec(),
            proto_min: PROTO_MAX,
            proto_max: PROTO_MAX,
            capabilities: Capabilities::default(),
        }
    }

    /// What each side says, in the order of a handoff, by their own encoder.
    fn conversations() -> Vec<Vec<Message>> {
        let handoff_id = HandoffId::new();
        vec![
            vec![
                hello(Side::Incumbent),
                Message::Drained {
                    open_conns_remaining: 2,
                    accept_closed: true,
                },
                Message::Heartbeat { ts_ms: 5 },
                Message::SealProgress {
                    shards_sealed: 1,
                    shards_total: 2,
                    last_revision: 9,
                },
                Message::SealComplete {
                    handoff_id,
                    last_revision_per_shard: vec![1, 900, 70_000],
                    data_dir_fingerprint: [3; 32],
                },
                Message::SealFailed {
                    handoff_id,
                    error: "full".into(),
                    partial_state: "1 of 2".into(),
                },
            ],
            vec![
                hello(Side::Successor),
                Message::Ready {
                    handoff_id,
                    listening_on: vec!["127.0.0.1:80".into()],
                    healthz_ok: true,
                    advertised_revision_per_shard: vec![1, 900],
                },
            ],
            vec![
                Message::HelloAck {
                    proto_version_chosen: PROTO_MAX,
                    handoff_id,
                },
                Message::PrepareHandoff {
                    handoff_id,
                    successor_pid: 8,
                    deadline_ms: 300_000,
                    drain_grace_ms: 60_000,
                },
                Message::SealRequest { handoff_id },
                Message::Begin { handoff_id },
                Message::Commit { handoff_id },
                Message::Abort {
                    handoff_id,
                    reason: "no".into(),
                },
                Message::ResumeAfterAbort { handoff_id },
            ],
        ]
    }

    pub(crate) fn beyond_frames() -> Vec<Vec<u8>> {
        let conversations = conversations();
        let seeds = conversations
            .iter()
            .map(|c| [&[255][..], &written(c)].concat());
        seeds.collect()
    }

    pub(crate) fn beyond_machines() -> Vec<Vec<u8>> {
        let scripts: [(u8, usize, &[u8]); 5] = [
            (0, 2, &[0, 1, 6, 2, 7, 3]),
            (1, 2, &[4, 0, 3, 5, 1]),
            (2, 1, &[0, 4, 1, 7, 11]),
            (3, 0, &[9, 0, 5, 1, 6, 2, 3, 7]),
            (4, 0, &[9, 0, 5, 1, 6, 3, 8, 10]),
        ];
        let conversations = conversations();
        let seed = |(kind, conversation, script): (u8, usize, &[u8])| {
            let said = written(&conversations[conversation]);
            [&[kind, script.len() as u8], script, &said].concat()
        };
        scripts.into_iter().map(seed).collect()
    }
}
