//! What is known of members and owners, and what changes by what etcd says.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::identity::{NodeId, ShardId, Term};
use handover_hub_proto::view::{Departure, EngineEvent, Member, Owner};

use super::keys::{Key, Keys, Record, node};

/// One key with its value, or its deletion.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) key: Vec<u8>,
    /// Absent: it was deleted.
    pub(super) value: Option<Vec<u8>>,
    /// The revision that created the key.
    pub(super) created: i64,
    /// The revision of this change.
    pub(super) changed: i64,
}

#[derive(Clone, Debug)]
struct Known {
    member: Member,
    created: i64,
    left: bool,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Table {
    keys: Keys,
    shards: u16,
    members: BTreeMap<NodeId, Known>,
    owners: BTreeMap<ShardId, Owner>,
    revision: i64,
}

impl Table {
    pub(super) fn new(keys: Keys, shards: u16) -> Self {
        Self {
            keys,
            shards,
            members: BTreeMap::new(),
            owners: BTreeMap::new(),
            revision: 0,
        }
    }

    /// Up to which revision everything is known.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn owner(&self, shard: ShardId) -> Option<Owner> {
        self.owners.get(&shard).copied()
    }

    pub(super) fn owned(&self, shards: impl IntoIterator<Item = ShardId>) -> Vec<(ShardId, Owner)> {
        let owned = |shard| Some((shard, self.owner(shard)?));
        shards.into_iter().filter_map(owned).collect()
    }

    /// All owners.
    pub(super) fn all(&self) -> Vec<(ShardId, Owner)> {
        self.owners
            .iter()
            .map(|(id, owner)| (*id, *owner))
            .collect()
    }

    /// Takes note of an owner that a transaction found or made. False if a later one is known.
    pub(super) fn learn(&mut self, shard: ShardId, owner: Owner) -> bool {
        let later = |known: &Owner| known.term >= owner.term;
        if shard.0 >= self.shards || self.owners.get(&shard).is_some_and(later) {
            return false;
        }
        self.owners.insert(shard, owner);
        true
    }

    /// Replaces all that is known by all that there is at a revision; says what that changes.
    ///
    /// Absent, and nothing is changed, if more is known already: it was read before.
    pub(super) fn replace(&mut self, revision: i64, all: &[Change]) -> Option<Vec<EngineEvent>> {
        if revision < self.revision {
            return None;
        }
        let there = |change: &Change| match self.keys.parse(&change.key) {
            Key::Member(id) => Some((id, change.created)),
            Key::Shard(_) | Key::Other => None,
        };
        let there: BTreeSet<(NodeId, i64)> = all.iter().filter_map(there).collect();
        let gone = |(id, known): (&NodeId, &Known)| {
            (!there.contains(&(*id, known.created))).then_some((*id, known.left))
        };
        let gone: Vec<(NodeId, bool)> = self.members.iter().filter_map(gone).collect();
        let mut events: Vec<EngineEvent> = Vec::new();
        for (id, left) in gone {
            self.members.remove(&id);
            events.push(departed(id, left));
        }
        events.extend(self.apply(all));
        self.revision = revision;
        Some(events)
    }

    /// Takes note of news; says what they change for the hub. What is known already is left out.
    pub(super) fn news(&mut self, mut changes: Vec<Change>) -> Vec<EngineEvent> {
        changes.retain(|change| change.changed > self.revision);
        self.apply(&changes)
    }

    /// Takes note of changes, in order; says what they change for the hub.
    fn apply(&mut self, changes: &[Change]) -> Vec<EngineEvent> {
        let mut events = Vec::new();
        let mut owners = Vec::new();
        for change in changes {
            self.revision = self.revision.max(change.changed);
            match (self.keys.parse(&change.key), &change.value) {
                (Key::Member(id), Some(value)) => {
                    if let Some(member) = self.joined(id, value, change.created) {
                        events.push(EngineEvent::Member(member));
                    }
                }
                (Key::Member(id), None) => {
                    if let Some(known) = self.members.remove(&id) {
                        events.push(departed(id, known.left));
                    }
                }
                (Key::Shard(shard), Some(value)) => {
                    let Some(node) = node(value) else {
                        continue;
                    };
                    let term = Term(u64::try_from(change.changed).unwrap_or_default());
                    let owner = Owner { node, term };
                    if self.learn(shard, owner) {
                        owners.push((shard, owner));
                    }
                }
                // The hub deletes no shard; who else does has to stop all of its nodes first.
                (Key::Shard(_), None) | (Key::Other, _) => {}
            }
        }
        if !owners.is_empty() {
            events.push(EngineEvent::Owners(owners));
        }
        events
    }

    fn joined(&mut self, id: NodeId, value: &[u8], created: i64) -> Option<Member> {
        let record = Record::read(value)?;
        if record.member.id != id {
            return None;
        }
        let known = Known {
            member: record.member.clone(),
            created,
            left: record.left,
        };
        let before = self.members.insert(id, known);
        let same = before.is_some_and(|before| before.member == record.member);
        // One that is about to be gone is no news.
        (!same && !record.left).then_some(record.member)
    }
}

fn departed(node: NodeId, left: bool) -> EngineEvent {
    let cause = if left {
        Departure::Left
    } else {
        Departure::Lost
    };
    EngineEvent::Gone { node, cause }
}
