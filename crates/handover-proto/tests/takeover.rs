//! What is said on a takeover socket: bytes that never change, and bytes that are refused.

use handover_proto::frame::{Decoded, FrameError, MAX_FRAME};
use handover_proto::identity::{Generation, InstanceId, InstancePid};
use handover_proto::manifest::{ListenerEntry, ListenerKind};
use handover_proto::phase::{Mode, Phase};
use handover_proto::takeover::{
    Answer, Ask, LISTENERS_AT_ONCE, MAGIC, Passed, Reader, RefusedFor, StreamError, encode_answer,
    encode_ask,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn take() -> Ask {
    Ask::Take {
        service: "web".into(),
        pid: InstancePid(300),
        network: Some(5),
        oldest: 1,
        newest: 1,
    }
}

fn passed(name: &str, held: bool) -> Passed {
    Passed {
        listener: ListenerEntry {
            name: name.into(),
            kind: ListenerKind::Tcp,
            address: "[::]:80".into(),
        },
        held,
    }
}

fn answers() -> Vec<(Answer, &'static str)> {
    vec![
        (
            Answer::Granted {
                instance: InstanceId(2),
                generation: Generation(1),
                listeners: 1,
            },
            "0100 8103 0100 01000000 02 0200 01000000 01 0300 01000000 01",
        ),
        (
            Answer::Listeners {
                entries: vec![passed("http", true)],
            },
            "0100 8203 0100 10000000 01 0468747470 00 075b3a3a5d3a3830 01",
        ),
        (
            Answer::Refused {
                cause: RefusedFor::Network,
                reason: "no".into(),
            },
            "0100 8303 0100 01000000 02 0200 03000000 026e6f",
        ),
        (
            Answer::Progress { text: "x".into() },
            "0100 8403 0100 02000000 0178",
        ),
        (
            Answer::Finished {
                code: 10,
                word: "w".into(),
                text: "t".into(),
            },
            "0100 8503 0100 01000000 0a 0200 02000000 0177 0300 02000000 0174",
        ),
        (
            Answer::Serving {
                service: "s".into(),
                pid: InstancePid(7),
                instance: InstanceId(1),
                generation: Generation(1),
                phase: Phase::Warm,
                mode: Mode::Exclusive,
                program: "p".into(),
                uptime_ms: 1,
                listeners: vec![],
                successor: Some(InstancePid(8)),
            },
            "0100 8603 0100 02000000 0173 0200 01000000 07 0300 01000000 01 0400 01000000 01 \
             0500 01000000 01 0600 01000000 01 0700 02000000 0170 0800 01000000 01 \
             0900 01000000 00 0a00 02000000 0108",
        ),
    ]
}

#[test]
fn the_bytes_of_asks_never_change() {
    let begin = "68616e646f766572";
    assert_eq!(hex(&MAGIC), begin);
    let expected = format!(
        "{begin} 2c000000 0100 0103 0100 04000000 03776562 0200 02000000 ac02 \
         0300 02000000 0105 0400 01000000 01 0500 01000000 01"
    );
    assert_eq!(hex(&encode_ask(&take())), expected.replace(' ', ""));
    for (ask, kind) in [
        (Ask::Upgrade, "0203"),
        (Ask::Undo, "0303"),
        (Ask::Status, "0403"),
    ] {
        let expected = format!("{begin}040000000100{kind}");
        assert_eq!(hex(&encode_ask(&ask)), expected);
    }
}

#[test]
fn the_bytes_of_answers_never_change() {
    for (answer, expected) in answers() {
        let bytes = encode_answer(&answer, false);
        assert_eq!(hex(&bytes[4..]), expected.replace(' ', ""), "{answer:?}");
        let first = encode_answer(&answer, true);
        assert_eq!((&first[..8], &first[8..]), (&MAGIC[..], &bytes[..]));
    }
}

#[test]
fn what_is_said_is_read_however_it_is_split() {
    let mut stream = Vec::new();
    for (index, (answer, _)) in answers().into_iter().enumerate() {
        stream.extend(encode_answer(&answer, index == 0));
    }
    for size in [1, 3, 8, 9, stream.len()] {
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for piece in stream.chunks(size) {
            reader.push(piece).expect("valid");
            while let Some(decoded) = reader.next_answer().expect("valid") {
                found.push(decoded);
            }
        }
        let expected = answers()
            .into_iter()
            .map(|(answer, _)| Decoded::Message(answer));
        assert_eq!(found, expected.collect::<Vec<_>>(), "in pieces of {size}");
        assert_eq!(reader.buffered(), 0);
    }
}

#[test]
fn another_program_is_recognised_by_its_first_byte() {
    let mut reader = Reader::new();
    reader.push(b"hand").expect("so far as it should be");
    let error = reader.push(b"s up").expect_err("something else");
    let StreamError::Foreign { expected, found } = error else {
        panic!("{error}");
    };
    assert_eq!((expected, &found), (MAGIC, b"hands up"));
    let error = Reader::new().push(b"HTTP/1.1 400 Bad Request").err();
    assert!(matches!(error, Some(StreamError::Foreign { .. })));
}

#[test]
fn a_frame_of_the_other_side_is_an_error() {
    let mut reader = Reader::new();
    let answer = encode_answer(&Answer::Progress { text: "x".into() }, true);
    reader.push(&answer).expect("room");
    let error = reader.next_ask().expect_err("the wrong side");
    let wrong = matches!(
        error,
        StreamError::Frame(FrameError::WrongDirection {
            message: "Progress",
            ..
        })
    );
    assert!(wrong, "{error:?}");
}

#[test]
fn the_most_listeners_of_the_longest_names_fit_into_a_frame() {
    let mut longest = passed(&"n".repeat(255), true);
    longest.listener.address = "/".repeat(107);
    let entries = vec![longest; LISTENERS_AT_ONCE];
    let bytes = encode_answer(&Answer::Listeners { entries }, false);
    assert!(bytes.len() <= 4 + MAX_FRAME, "{}", bytes.len());
}

#[test]
fn words_are_cut_to_a_frame() {
    let long = "é".repeat(MAX_FRAME);
    let answers = [
        Answer::Progress { text: long.clone() },
        Answer::Refused {
            cause: RefusedFor::Busy,
            reason: long.clone(),
        },
        Answer::Finished {
            code: 0,
            word: "committed".into(),
            text: long,
        },
    ];
    for answer in answers {
        let bytes = encode_answer(&answer, true);
        assert!(bytes.len() <= 8 + 4 + MAX_FRAME, "{}", bytes.len());
        let mut reader = Reader::new();
        reader.push(&bytes).expect("room");
        assert!(matches!(
            reader.next_answer(),
            Ok(Some(Decoded::Message(_)))
        ));
    }
}
