//! Where things are in etcd, and how they are written there.
//!
//! | key, below `/<prefix>/<hub>` | value | lease |
//! |---|---|---|
//! | `/shards` | how many shards the hub has | none |
//! | `/member/<id>` | the member, as JSON | the member's |
//! | `/name/<name>` | the id of the member that has the name | the member's |
//! | `/shard/<number>` | the id of its owner; its `mod_revision` is the term | none |

use std::fmt::Write as _;

use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::Member;
use serde::{Deserialize, Serialize};

/// Where a hub's keys are.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    base: String,
}

/// What is at a member's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) member: Member,
    /// What it has alike with all others.
    #[serde(default)]
    pub(super) agreement: Option<Agreement>,
    /// It is going in order: its key is deleted next.
    #[serde(default)]
    pub(super) left: bool,
}

impl Record {
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(value).ok()
    }
}

/// Which key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Member(NodeId),
    Shard(ShardId),
    /// One that says nothing about members and owners.
    Other,
}

impl Keys {
    pub(super) fn new(prefix: &str, hub: &HubName) -> Self {
        let mut base = format!("/{}", prefix.trim_matches('/'));
        if base.len() > 1 {
            base.push('/');
        }
        base.push_str(&segment(hub.as_str()));
        base.push('/');
        Self { base }
    }

    /// What all keys of the hub begin with.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn shards(&self) -> String {
        format!("{}shards", self.base)
    }

    pub(super) fn member(&self, node: NodeId) -> String {
        format!("{}member/{node}", self.base)
    }

    pub(super) fn name(&self, name: &NodeName) -> String {
        format!("{}name/{}", self.base, segment(name.as_str()))
    }

    pub(super) fn shard(&self, shard: ShardId) -> String {
        format!("{}shard/{:05}", self.base, shard.0)
    }

    pub(super) fn parse(&self, key: &[u8]) -> Key {
        let below = || {
            let text = std::str::from_utf8(key).ok()?;
            text.strip_prefix(&self.base)?.split_once('/')
        };
        match below() {
            Some(("member", id)) => node(id.as_bytes()).map_or(Key::Other, Key::Member),
            Some(("shard", number)) => {
                let number = number.parse().ok().map(ShardId);
                number.map_or(Key::Other, Key::Shard)
            }
            _ => Key::Other,
        }
    }
}

/// A node's id as it is written in values and keys.
pub(super) fn node(text: &[u8]) -> Option<NodeId> {
    let text = std::str::from_utf8(text).ok()?;
    u64::from_str_radix(text, 16).ok().map(NodeId)
}

/// A name as one part of a key: no hub's keys are below those of another.
fn segment(name: &str) -> String {
    let mut written = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '/' | '%' => {
                let _ = write!(written, "%{:02X}", u32::from(c));
            }
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId};

    use super::{Key, Keys};

    fn keys(prefix: &str, hub: &str) -> Keys {
        Keys::new(prefix, &HubName::new(hub).expect("a name"))
    }

    #[test]
    fn what_is_written_is_read() {
        let keys = keys("/handover/", "sessions");
        assert_eq!(keys.base(), "/handover/sessions/");
        let member = keys.member(NodeId(0xabc));
        assert_eq!(member, "/handover/sessions/member/0000000000000abc");
        assert_eq!(keys.parse(member.as_bytes()), Key::Member(NodeId(0xabc)));
        let shard = keys.shard(ShardId(7));
        assert_eq!(shard, "/handover/sessions/shard/00007");
        assert_eq!(keys.parse(shard.as_bytes()), Key::Shard(ShardId(7)));
        assert_eq!(keys.parse(keys.shards().as_bytes()), Key::Other);
        assert_eq!(keys.parse(b"/handover/sessions/shard/x"), Key::Other);
        assert_eq!(keys.parse(b"/handover/other/shard/00007"), Key::Other);
        assert_eq!(keys.parse(b"\xff"), Key::Other);
    }

    #[test]
    fn no_name_leads_into_the_keys_of_another_hub() {
        assert_eq!(keys("", "a/b").base(), "/a%2Fb/");
        assert_ne!(keys("", "a%2Fb").base(), keys("", "a/b").base());
        let name = NodeName::new("a/b").expect("a name");
        assert_eq!(keys("p", "h").name(&name), "/p/h/name/a%2Fb");
    }
}
