//! What the connections of other nodes carry.

use std::time::Instant;

use bytes::Bytes;
use handover_hub_proto::identity::{HubName, NodeId, NodeName};
use handover_hub_proto::node::Agreement;

use super::batch::{pack, unpack};
use super::greeting::{Answer, Greeting, Versions, unauthorised};
use crate::transport::{Frame, Introduction};

/// The frames of a message, which are the same when they are written and read again.
#[must_use]
pub fn frames(message: &[u8]) -> Vec<Frame> {
    let frames = unpack(Bytes::copy_from_slice(message)).frames;
    let now = Instant::now();
    let again = frames.iter().map(|frame| (now, frame.clone())).collect();
    let again = unpack(pack(again));
    assert_eq!((&again.frames, again.unknown), (&frames, 0));
    frames
}

/// The first words of another node, and its answer to ours.
pub fn greeting(words: &[u8]) {
    let versions = Versions::default();
    if let Ok((greeting, _)) = Greeting::decode(words, versions) {
        let again = Greeting::decode(&greeting.encode(versions), versions);
        // Longer ones than are sent are cut.
        if let Ok((again, _)) = again {
            assert_eq!(again, greeting);
        }
    }
    if let Ok((answer, _)) = Answer::decode(words, versions)
        && let Ok((again, _)) = Answer::decode(&answer.encode(versions), versions)
    {
        assert_eq!(again, answer);
    }
}

/// What two nodes say.
#[must_use]
pub fn greeting_seeds() -> Vec<Vec<u8>> {
    let who = Introduction {
        hub: HubName::new("sessions").expect("a name"),
        shards: 64,
        node: NodeId(7),
        name: NodeName::new("a").expect("a name"),
        instance: 1,
        address: "10.0.0.1:7600".to_owned(),
        agreement: Agreement::default(),
    };
    let frame = 1 << 20;
    let greeting = Greeting { who, frame };
    let versions = Versions::default();
    let rejected = Answer::Rejected(unauthorised("no certificate of node b"));
    Vec::from([
        greeting.encode(versions),
        Answer::Welcome(greeting).encode(versions),
        rejected.encode(versions),
    ])
}
