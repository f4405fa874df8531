//! Our codec against the crate's.

use handoff::frame::{read_message, write_message};
use handoff::protocol as theirs;
use handover_proto::beyond::{HandoffId, Message, Reader, Side, encode};

const ID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

fn id() -> theirs::HandoffId {
    // Through their own reader, since a UUID crate is no dependency of ours.
    let ack = encode(&Message::HelloAck {
        version: 1,
        id: HandoffId(ID),
    });
    let (_, ack) = read_message(&mut ack.as_slice()).expect("read by the crate");
    match ack {
        theirs::Message::HelloAck { handoff_id, .. } => handoff_id,
        other => panic!("{other:?}"),
    }
}

/// The same message in both libraries, twice: with small and with large numbers.
fn pairs() -> Vec<(Message, theirs::Message)> {
    let ours = HandoffId(ID);
    let text = || "disk full — ü".to_owned();
    let mut pairs = Vec::new();
    for (small, medium, large) in [(1u16, 77u32, 300u64), (u16::MAX, u32::MAX, u64::MAX)] {
        let list = vec![0, 127, 128, large];
        pairs.extend([
            (
                Message::Hello {
                    side: Side::Successor,
                    pid: medium,
                    build_id: vec![0xab; 20],
                    oldest: 1,
                    newest: small,
                    capabilities: large,
                },
                theirs::Message::Hello {
                    role: theirs::Side::Successor,
                    pid: medium,
                    build_id: vec![0xab; 20],
                    proto_min: 1,
                    proto_max: small,
                    capabilities: theirs::Capabilities { reserved: large },
                },
            ),
            (
                Message::HelloAck {
                    version: small,
                    id: ours,
                },
                theirs::Message::HelloAck {
                    proto_version_chosen: small,
                    handoff_id: id(),
                },
            ),
            (
                Message::PrepareHandoff {
                    id: ours,
                    successor_pid: medium,
                    deadline_ms: large,
                    drain_grace_ms: large / 2,
                },
                theirs::Message::PrepareHandoff {
                    handoff_id: id(),
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
                    id: ours,
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
                    id: ours,
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
            (
                Message::Heartbeat { ts_ms: large },
                theirs::Message::Heartbeat { ts_ms: large },
            ),
        ]);
    }
    pairs.extend([
        (
            Message::Hello {
                side: Side::Incumbent,
                pid: 1,
                build_id: Vec::new(),
                oldest: 1,
                newest: 1,
                capabilities: 0,
            },
            theirs::Message::Hello {
                role: theirs::Side::Incumbent,
                pid: 1,
                build_id: Vec::new(),
                proto_min: 1,
                proto_max: 1,
                capabilities: theirs::Capabilities::default(),
            },
        ),
        (
            Message::SealRequest { id: ours },
            theirs::Message::SealRequest { handoff_id: id() },
        ),
        (
            Message::SealFailed {
                id: ours,
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
            Message::Begin { id: ours },
            theirs::Message::Begin { handoff_id: id() },
        ),
        (
            Message::Commit { id: ours },
            theirs::Message::Commit { handoff_id: id() },
        ),
        (
            Message::Abort {
                id: ours,
                reason: text(),
            },
            theirs::Message::Abort {
                handoff_id: id(),
                reason: text(),
            },
        ),
        (
            Message::ResumeAfterAbort { id: ours },
            theirs::Message::ResumeAfterAbort { handoff_id: id() },
        ),
    ]);
    pairs
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
