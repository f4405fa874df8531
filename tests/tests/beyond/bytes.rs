//! Our codec against the crate's.

use handoff::frame::{read_message, write_message};
use handoff::protocol as theirs;
use handover_proto::beyond::{HandoffId, Message, Reader, Side, encode};

const OURS: HandoffId = HandoffId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn id() -> theirs::HandoffId {
    // Through their own reader, since a UUID crate is no dependency of ours.
    let ack = encode(&Message::HelloAck {
        version: 1,
        id: OURS,
    });
    let (_, ack) = read_message(&mut ack.as_slice()).expect("read by the crate");
    match ack {
        theirs::Message::HelloAck { handoff_id, .. } => handoff_id,
        other => panic!("{other:?}"),
    }
}

type Pair = (Message, theirs::Message);

/// Numbers of a message, small and large.
#[derive(Clone, Copy)]
struct Numbers {
    small: u16,
    medium: u32,
    large: u64,
}

const NUMBERS: [Numbers; 2] = [
    Numbers {
        small: 1,
        medium: 77,
        large: 300,
    },
    Numbers {
        small: u16::MAX,
        medium: u32::MAX,
        large: u64::MAX,
    },
];

fn text() -> String {
    "disk full — ü".to_owned()
}

/// The same messages in both libraries.
fn pairs() -> Vec<Pair> {
    let numbered = NUMBERS.into_iter().flat_map(|numbers| {
        let pairs = greetings(numbers).into_iter();
        pairs.chain(drains(numbers)).chain(results(numbers))
    });
    numbered.chain(named()).chain(worded()).collect()
}

fn greetings(
    Numbers {
        small,
        medium,
        large,
    }: Numbers,
) -> [Pair; 2] {
    let hello = |side, role| {
        (
            Message::Hello {
                side,
                pid: medium,
                build_id: vec![0xab; usize::from(small).min(20)],
                oldest: 1,
                newest: small,
                capabilities: large,
            },
            theirs::Message::Hello {
                role,
                pid: medium,
                build_id: vec![0xab; usize::from(small).min(20)],
                proto_min: 1,
                proto_max: small,
                capabilities: theirs::Capabilities { reserved: large },
            },
        )
    };
    [
        hello(Side::Incumbent, theirs::Side::Incumbent),
        hello(Side::Successor, theirs::Side::Successor),
    ]
}

fn drains(
    Numbers {
        small,
        medium,
        large,
    }: Numbers,
) -> [Pair; 4] {
    let id = id();
    [
        (
            Message::HelloAck {
                version: small,
                id: OURS,
            },
            theirs::Message::HelloAck {
                proto_version_chosen: small,
                handoff_id: id,
            },
        ),
        (
            Message::PrepareHandoff {
                id: OURS,
                successor_pid: medium,
                deadline_ms: large,
                drain_grace_ms: large / 2,
            },
            theirs::Message::PrepareHandoff {
                handoff_id: id,
                successor_pid: medium,
                deadline_ms: large,
                drain_grace_ms: large / 2,
            },
        ),
        (
            Message::Drained {
                open_conns_remaining: medium,
                accept_closed: small == 1,
            },
            theirs::Message::Drained {
                open_conns_remaining: medium,
                accept_closed: small == 1,
            },
        ),
        (
            Message::Heartbeat { ts_ms: large },
            theirs::Message::Heartbeat { ts_ms: large },
        ),
    ]
}

fn results(
    Numbers {
        small,
        medium,
        large,
    }: Numbers,
) -> [Pair; 3] {
    let list = vec![0, 127, 128, large];
    [
        (
            Message::SealProgress {
                sealed: medium,
                total: medium,
                last_revision: large,
            },
            theirs::Message::SealProgress {
                shards_sealed: medium,
                shards_total: medium,
                last_revision: large,
            },
        ),
        (
            Message::SealComplete {
                id: OURS,
                last_revision_per_shard: list.clone(),
                data_dir_fingerprint: [0x5a; 32],
            },
            theirs::Message::SealComplete {
                handoff_id: id(),
                last_revision_per_shard: list.clone(),
                data_dir_fingerprint: [0x5a; 32],
            },
        ),
        (
            Message::Ready {
                id: OURS,
                listening_on: vec![text(), String::new()],
                healthz_ok: small == 1,
                advertised_revision_per_shard: list.clone(),
            },
            theirs::Message::Ready {
                handoff_id: id(),
                listening_on: vec![text(), String::new()],
                healthz_ok: small == 1,
                advertised_revision_per_shard: list,
            },
        ),
    ]
}

/// Nothing but the attempt.
fn named() -> [Pair; 4] {
    let handoff_id = id();
    [
        (
            Message::SealRequest { id: OURS },
            theirs::Message::SealRequest { handoff_id },
        ),
        (
            Message::Begin { id: OURS },
            theirs::Message::Begin { handoff_id },
        ),
        (
            Message::Commit { id: OURS },
            theirs::Message::Commit { handoff_id },
        ),
        (
            Message::ResumeAfterAbort { id: OURS },
            theirs::Message::ResumeAfterAbort { handoff_id },
        ),
    ]
}

/// With words.
fn worded() -> [Pair; 2] {
    [
        (
            Message::SealFailed {
                id: OURS,
                error: text(),
                partial_state: text(),
            },
            theirs::Message::SealFailed {
                handoff_id: id(),
                error: text(),
                partial_state: text(),
            },
        ),
        (
            Message::Abort {
                id: OURS,
                reason: text(),
            },
            theirs::Message::Abort {
                handoff_id: id(),
                reason: text(),
            },
        ),
    ]
}

#[test]
fn every_message_has_the_same_bytes_in_both_libraries() {
    let pairs = pairs();
    let names: std::collections::BTreeSet<_> = pairs.iter().map(|(ours, _)| ours.name()).collect();
    assert_eq!(names.len(), 14, "{names:?}");
    for (ours, theirs) in pairs {
        let mut written = Vec::new();
        write_message(&mut written, theirs::PROTO_MAX, &theirs).expect("written");
        assert_eq!(encode(&ours), written, "{}", ours.name());
        let mut reader = Reader::new();
        reader.push(&written).expect("room");
        assert_eq!(reader.next_message(), Ok(Some(ours)));
    }
}

#[test]
fn both_refuse_the_same_lengths() {
    use handover_proto::beyond::MAX_FRAME;
    assert_eq!(MAX_FRAME as u32, handoff::frame::MAX_FRAME_BYTES);
    for length in [0u32, 1, MAX_FRAME as u32 + 1, u32::MAX] {
        let bytes = [&length.to_le_bytes()[..], &[0; 8]].concat();
        let theirs = read_message(&mut bytes.as_slice());
        theirs.expect_err("refused by the crate");
        let mut reader = Reader::new();
        reader.push(&bytes).expect("room");
        reader.next_message().expect_err("refused by us");
    }
}
