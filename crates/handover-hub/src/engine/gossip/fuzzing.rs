//! What gossip engines tell each other, and what is published through chitchat.

use bytes::Bytes;
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use handover_hub_proto::claim;
use handover_hub_proto::identity::{NodeId, NodeName, ShardId, Term};
use handover_hub_proto::view::{Load, Member, Owner, Standing};

use super::mail::{Contents, Mail, Published, open, wrap};

const SHARDS: u16 = 64;

/// A letter: what is read is the same when it is written and read again, and claims name shards of
/// this hub only.
pub fn gossip(bytes: &[u8]) {
    match open(&Bytes::copy_from_slice(bytes)) {
        Contents::Scuttlebutt(message) => {
            // Never written again: chitchat counts on deltas that it made itself.
            let _ = ChitchatMessage::deserialize(&mut &message[..]);
        }
        Contents::Mail(mail) => {
            assert_eq!(open(&mail.encode()), Contents::Mail(mail.clone()));
            if let Mail::Claims(text) | Mail::Welcome { claims: text, .. } = &mail {
                claims(text);
            }
        }
        Contents::Unknown => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                claims(text);
            }
        }
    }
}

fn claims(text: &str) {
    let Ok(claims) = claim::decode(text, SHARDS) else {
        return;
    };
    assert!(claims.len() <= usize::from(SHARDS));
    assert!(claims.iter().all(|(shard, _)| shard.0 < SHARDS));
    let mut again = claim::decode(&claim::encode(&claims), SHARDS).expect("reads what was written");
    let last: std::collections::BTreeMap<_, _> = claims.into_iter().collect();
    again.sort_by_key(|(shard, _)| *shard);
    assert_eq!(again, Vec::from_iter(last));
}

/// Each kind of letter.
#[must_use]
pub fn gossip_seeds() -> Vec<Vec<u8>> {
    let member = Member {
        id: NodeId(7),
        name: NodeName::new("a").expect("a name"),
        address: "10.0.0.1:7600".to_owned(),
        weight: 100,
        version: "1.2.0".to_owned(),
        joined_ms: 1_795_247_479_000,
        standing: Standing::Evacuating,
        load: Load::default(),
    };
    let me = Published {
        revision: 3,
        member,
    };
    let owner = |shard: u16| Owner {
        node: NodeId(u64::from(shard % 3)),
        term: Term(u64::from(shard)),
    };
    let owned: Vec<_> = (0..SHARDS)
        .map(|shard| (ShardId(shard), owner(shard)))
        .collect();
    let text = claim::encode(&owned);
    let letters = [
        Mail::Join(me.clone()),
        Mail::Welcome {
            me: me.clone(),
            addresses: vec!["10.0.0.2:7600".to_owned()],
            claims: text.clone(),
        },
        Mail::Changed(me),
        Mail::Claims(claim::encode(&owned[..9])),
        Mail::Resting,
        Mail::Left,
    ];
    let letters = letters.iter().map(|mail| mail.encode().to_vec());
    let chitchat = wrap(|bytes| ChitchatMessage::BadCluster.serialize(bytes)).to_vec();
    letters.chain([text.into_bytes(), chitchat]).collect()
}
