//! Values with anything in them.

use handover_proto::container::envelope::{Envelope, Key};
use handover_proto::container::message::Message;
use handover_proto::container::order::{Entry, Order};
use handover_proto::container::{Attempt, BootId, PeerId, RegisterId};
use proptest::option;
use proptest::prelude::*;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    pairs
        .map(|pair| u8::from_str_radix(&pair, 16).unwrap())
        .collect()
}

/// The key of the tests.
pub(crate) fn key() -> Key {
    Key::new(b"sixteen bytes and more").unwrap()
}

pub(crate) fn order() -> impl Strategy<Value = Order> {
    let entry = any::<([u8; 16], u64)>().prop_map(|(register, epoch)| Entry {
        register: RegisterId(register),
        epoch,
    });
    (any::<([u8; 16], u64)>(), option::of(entry)).prop_map(|((boot, started_ns), entry)| Order {
        boot: BootId(boot),
        started_ns,
        entry,
    })
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let ids = any::<([u8; 16], [u8; 16])>();
    let both = ids.prop_map(|(to, handover)| (PeerId(to), Attempt(handover)));
    let rest = any::<(Option<i64>, bool, [u8; 16], u8)>();
    (both, rest).prop_map(|((to, handover), (legacy_ms, released, serving, kind))| {
        match kind % 10 {
            0 => Message::Announce { legacy_ms },
            1 => Message::Challenge { to, handover },
            2 => Message::Confirm { to, handover },
            3 => Message::Draining { to, handover },
            4 => Message::Released { to, handover },
            5 => Message::Alive {
                to,
                handover,
                released,
                serving: PeerId(serving),
            },
            6 => Message::Committed { to, handover },
            7 => Message::Withdraw { to, handover },
            8 => Message::Resumed { to, handover },
            _ => Message::Who,
        }
    })
}

pub(crate) fn envelope() -> impl Strategy<Value = Envelope> {
    let sender = (any::<([u8; 16], u64)>(), order());
    ("[a-z-]{1,63}", sender, message()).prop_map(|(service, ((from, sequence), order), message)| {
        Envelope {
            service,
            from: PeerId(from),
            order,
            sequence,
            message,
        }
    })
}
