//! Legacy datagrams by the golden bytes of handover-lib, version 3 by our own.

use std::net::Ipv4Addr;

use handover_proto::container::envelope::{
    self, Envelope, EnvelopeError, Key, KeyError, MAX_BYTES, MAX_KEY, SealError,
};
use handover_proto::container::legacy::{self, LegacyError};
use handover_proto::container::message::Message;
use handover_proto::container::order::{Entry, Order};
use handover_proto::container::status::{State, StatusDatagram, StatusEncodeError, StatusError};
use handover_proto::container::{Attempt, BootId, PeerId, RegisterId};
use proptest::prelude::*;

use crate::samples::{self, bytes, hex, key};

const STARTED: i64 = 1_653_000_000_123;

#[test]
fn a_legacy_announcement_is_theirs() {
    assert_eq!(hex(&legacy::encode(STARTED)), "0100000180de7a527b");
    assert_eq!(legacy::decode(&bytes("0100000180de7a527b")), Ok(STARTED));
    assert_eq!(hex(&legacy::encode(-1)), "01ffffffffffffffff");
    assert_eq!(legacy::decode(&legacy::encode(i64::MIN)), Ok(i64::MIN));
}

#[test]
fn what_is_no_legacy_announcement_is_refused() {
    let length = |found| Err(LegacyError::Length { found });
    assert_eq!(legacy::decode(&[]), length(0));
    assert_eq!(legacy::decode(&bytes("0100000180de7a52")), length(8));
    assert_eq!(legacy::decode(&bytes("0100000180de7a527b00")), length(10));
    let version = Err(LegacyError::Version { found: 3 });
    assert_eq!(legacy::decode(&bytes("0300000180de7a527b")), version);
}

fn status() -> StatusDatagram {
    StatusDatagram {
        started_ms: STARTED,
        service: "api".into(),
        addresses: vec![Ipv4Addr::new(172, 10, 0, 4), Ipv4Addr::new(192, 168, 0, 1)],
        status: State::Up,
    }
}

fn golden_status() -> Vec<u8> {
    let mut golden = bytes("02 00000180de7a527b 617069");
    golden.extend([0; 60]);
    golden.extend(bytes("ac0a0004 c0a80001"));
    golden.extend([0; 32]);
    golden.extend(bytes("5550"));
    golden.extend([0; 6]);
    golden
}

#[test]
fn a_status_is_theirs() {
    let golden = golden_status();
    assert_eq!(golden.len(), 120);
    assert_eq!(hex(&status().encode().unwrap()), hex(&golden));
    assert_eq!(StatusDatagram::decode(&golden), Ok(status()));
    let down = StatusDatagram {
        status: State::Down,
        ..status()
    };
    let written = down.encode().unwrap();
    assert_eq!(&written[112..], b"DOWN\0\0\0\0");
    assert_eq!(StatusDatagram::decode(&written), Ok(down));
}

#[test]
fn a_status_takes_ten_addresses_and_no_more() {
    let with = |count: u8| StatusDatagram {
        addresses: (1..=count)
            .map(|last| Ipv4Addr::new(10, 0, 0, last))
            .collect(),
        ..status()
    };
    let ten = with(10).encode().unwrap();
    assert_eq!(StatusDatagram::decode(&ten), Ok(with(10)));
    let refused = Err(StatusEncodeError::TooManyAddresses { found: 11 });
    assert_eq!(with(11).encode(), refused);
}

#[test]
fn a_name_of_63_bytes_is_read_and_not_written() {
    let named = |length: usize| StatusDatagram {
        service: "n".repeat(length),
        ..status()
    };
    let written = named(62).encode().unwrap();
    assert_eq!(StatusDatagram::decode(&written), Ok(named(62)));
    let refused = Err(StatusEncodeError::NameLength { found: 63 });
    assert_eq!(named(63).encode(), refused);
    let mut full = golden_status();
    full[9..72].fill(b'n');
    assert_eq!(StatusDatagram::decode(&full), Ok(named(63)));
    let with_zero = StatusDatagram {
        service: "a\0b".into(),
        ..status()
    };
    let name = "a\0b".to_owned();
    let refused = Err(StatusEncodeError::NameWithZero { name });
    assert_eq!(with_zero.encode(), refused);
}

#[test]
fn what_is_no_status_is_refused() {
    let decode = |change: fn(&mut Vec<u8>)| {
        let mut bytes = golden_status();
        change(&mut bytes);
        StatusDatagram::decode(&bytes)
    };
    let length = |found| Err(StatusError::Length { found });
    assert_eq!(decode(Vec::clear), length(0));
    assert_eq!(decode(|bytes| bytes.truncate(119)), length(119));
    assert_eq!(decode(|bytes| bytes.push(0)), length(121));
    assert_eq!(
        decode(|bytes| bytes[0] = 1),
        Err(StatusError::Version { found: 1 })
    );
    assert_eq!(
        decode(|bytes| bytes[10] = 0xff),
        Err(StatusError::NameNotText { valid: 1 })
    );
    let word = |found: &str| {
        let found = found.to_owned();
        Err(StatusError::Word { found })
    };
    assert_eq!(decode(|bytes| bytes[113] = b'p'), word("Up"));
    assert_eq!(decode(|bytes| bytes[112] = 0), word(""));
    assert_eq!(decode(|bytes| bytes[112..].fill(b'U')), word("UUUUUUUU"));
    assert_eq!(decode(|bytes| bytes[112] = 0xff), word("\u{fffd}P"));
}

fn said(message: Message, entry: Option<Entry>) -> Envelope {
    Envelope {
        service: "api".into(),
        from: PeerId([0xaa; 16]),
        order: Order {
            boot: BootId([0xbb; 16]),
            started_ns: 300,
            entry,
        },
        sequence: 5,
        message,
    }
}

fn messages() -> Vec<(Message, &'static str)> {
    let to = PeerId([0xcc; 16]);
    let handover = Attempt([0xdd; 16]);
    vec![
        (Message::Announce { legacy_ms: None }, "00 00"),
        (
            Message::Announce {
                legacy_ms: Some(STARTED),
            },
            "00 01 f6c9d2e79b60",
        ),
        (Message::Challenge { to, handover }, "01 *"),
        (Message::Confirm { to, handover }, "02 *"),
        (Message::Draining { to, handover }, "03 *"),
        (Message::Released { to, handover }, "04 *"),
        (
            Message::Alive {
                to,
                handover,
                released: true,
                serving: PeerId([0xee; 16]),
            },
            "05 * 01 eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        ),
        (Message::Committed { to, handover }, "06 *"),
        (Message::Withdraw { to, handover }, "07 *"),
        (Message::Resumed { to, handover }, "08 *"),
        (Message::Who, "09"),
    ]
}

#[test]
fn the_bytes_of_version_3_never_change() {
    let both = "cccccccccccccccccccccccccccccccc dddddddddddddddddddddddddddddddd";
    for (message, end) in messages() {
        let plain = "0300 03617069 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
                     bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ac02 00 05";
        let expected = bytes(&format!("{plain} {}", end.replace('*', both)));
        let envelope = said(message, None);
        let sealed = envelope::seal(&envelope, None).unwrap();
        assert_eq!(hex(&sealed), hex(&expected), "{}", message.name());
        assert_eq!(envelope::open(&expected, None), Ok(envelope));
    }
}

#[test]
fn a_number_of_the_register_and_a_tag_have_their_bytes() {
    let entry = Entry {
        register: RegisterId([0x11; 16]),
        epoch: 7,
    };
    let envelope = said(Message::Who, Some(entry));
    let sealed = envelope::seal(&envelope, Some(&key())).unwrap();
    let (signed, tag) = sealed.split_at(sealed.len() - 32);
    let expected = "0301 03617069 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \
                    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb ac02 \
                    01 11111111111111111111111111111111 07 05 09";
    assert_eq!(hex(signed), hex(&bytes(expected)));
    // By another implementation: Python's hmac.
    let expected = "b9677c13a240550e1cf3dd56eea8637f1bf34e9e05ef5c79f8216f55c6290e25";
    assert_eq!(hex(tag), expected);
    assert_eq!(envelope::open(&sealed, Some(&key())), Ok(envelope));
}

#[test]
fn what_is_not_of_this_key_is_refused() {
    let envelope = said(Message::Who, None);
    let plain = envelope::seal(&envelope, None).unwrap();
    let tagged = envelope::seal(&envelope, Some(&key())).unwrap();
    let other = Key::new(&[9; 16]).unwrap();
    let open = |bytes: &[u8], key: Option<&Key>| envelope::open(bytes, key).unwrap_err();
    assert_eq!(open(&plain, Some(&key())), EnvelopeError::Untagged);
    assert_eq!(open(&tagged, None), EnvelopeError::Tagged);
    assert_eq!(open(&tagged, Some(&other)), EnvelopeError::Forged);
    for at in 2..tagged.len() {
        let mut changed = tagged.clone();
        changed[at] ^= 1;
        assert_eq!(open(&changed, Some(&key())), EnvelopeError::Forged, "{at}");
    }
    // Without its flag the tag is more bytes, and the key's owner wants one.
    let mut stripped = tagged.clone();
    stripped[1] = 0;
    assert_eq!(open(&stripped, Some(&key())), EnvelopeError::Untagged);
    assert_eq!(open(&stripped, None), EnvelopeError::Trailing { found: 32 });
}

#[test]
fn what_is_no_datagram_of_version_3_is_refused() {
    let plain = envelope::seal(&said(Message::Who, None), None).unwrap();
    let open = |bytes: &[u8]| envelope::open(bytes, None).unwrap_err();
    assert_eq!(open(&[]), EnvelopeError::Short { found: 0 });
    assert_eq!(open(&[3]), EnvelopeError::Short { found: 1 });
    assert_eq!(open(&[1; 9]), EnvelopeError::Version { found: 1 });
    assert_eq!(open(&[3, 2, 0]), EnvelopeError::Flags { found: 2 });
    assert_eq!(
        open(&[3; MAX_BYTES + 1]),
        EnvelopeError::Long { found: 509 }
    );
    for end in 2..plain.len() {
        assert_eq!(open(&plain[..end]), EnvelopeError::Garbled, "{end}");
    }
    let unknown = plain.len() - 1;
    let mut newer = plain.clone();
    newer[unknown] = 10;
    assert_eq!(open(&newer), EnvelopeError::Garbled);
    let short = envelope::open(&[3, 1, 0], Some(&key())).unwrap_err();
    assert_eq!(short, EnvelopeError::Short { found: 3 });
}

#[test]
fn services_have_names_that_fit() {
    let named = |length: usize| Envelope {
        service: "s".repeat(length),
        ..said(Message::Who, None)
    };
    for found in [0, 64] {
        let refused = Err(SealError::Service { found });
        assert_eq!(envelope::seal(&named(found), None), refused);
    }
    let mut sealed = envelope::seal(&named(63), None).unwrap();
    assert_eq!(envelope::open(&sealed, None), Ok(named(63)));
    sealed.splice(2..2 + 64, [0]);
    let refused = Err(EnvelopeError::Service { found: 0 });
    assert_eq!(envelope::open(&sealed, None), refused);
}

#[test]
fn keys_have_a_length_and_no_debug() {
    assert_eq!(
        Key::new(&[0; 15]).unwrap_err(),
        KeyError::Short { found: 15 }
    );
    let found = MAX_KEY + 1;
    assert_eq!(
        Key::new(&vec![0; found]).unwrap_err(),
        KeyError::Long { found }
    );
    assert_eq!(format!("{:?}", key()), "Key(..)");
}

proptest! {
    #[test]
    fn every_envelope_fits_and_comes_back(envelope in samples::envelope(), tagged: bool) {
        let key = tagged.then(key);
        let sealed = envelope::seal(&envelope, key.as_ref()).unwrap();
        prop_assert!(sealed.len() <= MAX_BYTES);
        prop_assert_eq!(envelope::open(&sealed, key.as_ref()), Ok(envelope));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = legacy::decode(&bytes);
        let _ = StatusDatagram::decode(&bytes);
        let _ = envelope::open(&bytes, None);
        let _ = envelope::open(&bytes, Some(&key()));
    }
}
