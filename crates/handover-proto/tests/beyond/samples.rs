//! Every message with its bytes, as beyond-handoff 0.1.4 writes it.

use handover_proto::beyond::{HandoffId, Message, Side};

pub(crate) const ID: HandoffId = HandoffId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// [`ID`] on the wire.
macro_rules! id {
    () => {
        "10000102030405060708090a0b0c0d0e0f"
    };
}

/// Each message once.
pub(crate) fn samples() -> Vec<(Message, String)> {
    let all = greeting().into_iter().chain(leaving()).chain(taking());
    all.map(|(message, bytes)| (message, bytes.to_owned()))
        .collect()
}

fn greeting() -> [(Message, &'static str); 2] {
    [
        (
            Message::Hello {
                side: Side::Successor,
                pid: 4242,
                build_id: vec![0xab, 0xcd],
                oldest: 1,
                newest: 1,
                capabilities: 0,
            },
            "0c00000001000001922102abcd010100",
        ),
        (
            Message::HelloAck { version: 1, id: ID },
            concat!("1500000001000101", id!()),
        ),
    ]
}

fn leaving() -> [(Message, &'static str); 6] {
    [
        (
            Message::PrepareHandoff {
                id: ID,
                successor_pid: 4242,
                deadline_ms: 300_000,
                drain_grace_ms: 60_000,
            },
            concat!("1c000000010002", id!(), "9221e0a712e0d403"),
        ),
        (
            Message::Drained {
                open_conns_remaining: 300,
                accept_closed: true,
            },
            "06000000010003ac0201",
        ),
        (
            Message::SealRequest { id: ID },
            concat!("14000000010004", id!()),
        ),
        (
            Message::SealProgress {
                sealed: 1,
                total: 4,
                last_revision: u64::MAX,
            },
            "0f0000000100050104ffffffffffffffffff01",
        ),
        (
            Message::SealComplete {
                id: ID,
                last_revision_per_shard: vec![7, 300],
                data_dir_fingerprint: [0x5a; 32],
            },
            concat!(
                "38000000010006",
                id!(),
                "0207ac02",
                "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"
            ),
        ),
        (
            Message::SealFailed {
                id: ID,
                error: "disk full".into(),
                partial_state: String::new(),
            },
            concat!("1f000000010007", id!(), "096469736b2066756c6c00"),
        ),
    ]
}

fn taking() -> [(Message, &'static str); 6] {
    [
        (Message::Begin { id: ID }, concat!("14000000010008", id!())),
        (
            Message::Ready {
                id: ID,
                listening_on: vec!["http".into()],
                healthz_ok: true,
                advertised_revision_per_shard: vec![7, 300],
            },
            concat!("1f000000010009", id!(), "010468747470010207ac02"),
        ),
        (Message::Commit { id: ID }, concat!("1400000001000a", id!())),
        (
            Message::Abort {
                id: ID,
                reason: "no".into(),
            },
            concat!("1700000001000b", id!(), "026e6f"),
        ),
        (
            Message::ResumeAfterAbort { id: ID },
            concat!("1400000001000c", id!()),
        ),
        (
            Message::Heartbeat {
                ts_ms: 1_700_000_000_000,
            },
            "0900000001000d80d095ffbc31",
        ),
    ]
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let text = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(text, 16).expect("two digits")
        })
        .collect()
}
