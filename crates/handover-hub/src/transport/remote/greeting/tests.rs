use handover_hub_proto::identity::{HubName, NodeId, NodeName};

use super::{Answer, GREETING_MAX, Greeting, Versions, unauthorised};
use crate::transport::{Introduction, Rejection};

const ONE: Versions = Versions {
    lowest: 1,
    highest: 1,
};
const ONE_TO_THREE: Versions = Versions {
    lowest: 1,
    highest: 3,
};
const THREE: Versions = Versions {
    lowest: 3,
    highest: 3,
};

fn greeting() -> Greeting {
    Greeting {
        who: Introduction {
            hub: HubName::new("hub").unwrap(),
            shards: 1024,
            node: NodeId(7),
            name: NodeName::new("a").unwrap(),
            instance: 1,
            address: "10.0.0.1:7600".to_owned(),
            agreement: Default::default(),
        },
        frame: 1 << 20,
    }
}

#[test]
fn the_newest_common_version_is_spoken_both_ways() {
    for (one, other, common) in [
        (ONE, ONE_TO_THREE, Some(1)),
        (ONE_TO_THREE, THREE, Some(3)),
        (ONE_TO_THREE, ONE_TO_THREE, Some(3)),
        (ONE, THREE, None),
    ] {
        for (speaker, listener) in [(one, other), (other, one)] {
            let heard = Greeting::decode(&greeting().encode(speaker), listener);
            match common {
                Some(version) => assert_eq!(heard, Ok((greeting(), version))),
                None => assert_eq!(
                    heard,
                    Err(Rejection::Version {
                        expected_lowest: listener.lowest,
                        expected_highest: listener.highest,
                        found_lowest: speaker.lowest,
                        found_highest: speaker.highest,
                    })
                ),
            }
        }
    }
}

#[test]
fn a_newer_node_may_add_to_its_greeting() {
    let mut bytes = greeting().encode(ONE_TO_THREE);
    bytes.extend(b"something that version 1 does not know");
    assert_eq!(Greeting::decode(&bytes, ONE), Ok((greeting(), 1)));
}

#[test]
fn a_greeting_that_is_cut_or_of_another_protocol_is_garbled() {
    let bytes = greeting().encode(ONE);
    for end in 0..bytes.len() {
        assert_eq!(
            Greeting::decode(&bytes[..end], ONE),
            Err(Rejection::Garbled)
        );
    }
    assert_eq!(
        Greeting::decode(b"GET / HTTP/1.1\r\n\r\n", ONE),
        Err(Rejection::Garbled)
    );
}

#[test]
fn a_rejection_reaches_who_is_rejected() {
    let answer = Answer::Rejected(unauthorised("é".repeat(5000)));
    let bytes = answer.encode(ONE);
    assert!(bytes.len() < GREETING_MAX);
    assert_eq!(Answer::decode(&bytes, ONE), Ok((answer, 1)));
}
