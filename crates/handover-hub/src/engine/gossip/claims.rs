//! Claims to shards, and what of them this node has to publish.

use std::collections::BTreeSet;

use handover_hub_proto::claim::{self, Claims, SEGMENT};
use handover_hub_proto::identity::{NodeId, ShardId};
use handover_hub_proto::view::{Claim, Owner, Transfer};

/// Shards and their owners.
pub(super) type Owners = Vec<(ShardId, Owner)>;

/// What an order led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    /// The owners of the shards it named, changed or not.
    pub(super) answer: Owners,
    /// Those that it changed.
    pub(super) changed: Owners,
}

#[derive(Debug)]
pub(super) struct Ledger {
    claims: Claims,
    shards: u16,
    /// Segments whose publication may have changed.
    stale: BTreeSet<u16>,
}

impl Ledger {
    pub(super) fn new(me: NodeId, shards: u16) -> Self {
        Self {
            claims: Claims::new(me, shards),
            shards,
            stale: BTreeSet::new(),
        }
    }

    /// How many segments there are.
    pub(super) fn segments(&self) -> u16 {
        self.shards.div_ceil(SEGMENT)
    }

    /// Merges what a node published; returns what changed by that.
    pub(super) fn hear(&mut self, from: NodeId, text: &str) -> Owners {
        match claim::decode(text, self.shards) {
            Ok(said) => {
                self.touch(&said);
                self.claims.hear(from, &said)
            }
            Err(error) => {
                tracing::warn!(%from, %error, "claims of a node cannot be read");
                Vec::new()
            }
        }
    }

    pub(super) fn claim(&mut self, wanted: Vec<Claim>, gone: impl Fn(NodeId) -> bool) -> Carried {
        let mut carried = Carried::default();
        for claim in wanted {
            let before = self.claims.owner(claim.shard);
            let after = self.claims.claim(claim, &gone);
            carried.add(claim.shard, before, after);
        }
        self.touch(&carried.changed);
        carried
    }

    pub(super) fn transfer(&mut self, wanted: Vec<Transfer>) -> Carried {
        let mut carried = Carried::default();
        for transfer in wanted {
            let before = self.claims.owner(transfer.shard);
            let after = self.claims.transfer(transfer);
            carried.add(transfer.shard, before, after);
        }
        self.touch(&carried.changed);
        carried
    }

    /// All owners, as text.
    pub(super) fn all(&self) -> String {
        let owners: Owners = self.claims.owners().collect();
        claim::encode(&owners)
    }

    /// Nobody waits for a node any more.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.claims.forget(node);
        self.stale.extend(0..self.segments());
    }

    /// Everything has to be published again.
    pub(super) fn publish_all(&mut self) {
        self.stale.extend(0..self.segments());
    }

    /// What has to be published, by segment.
    pub(super) fn unpublished(&mut self) -> Vec<(u16, String)> {
        std::mem::take(&mut self.stale)
            .into_iter()
            .map(|segment| (segment, claim::encode(&self.claims.published(segment))))
            .collect()
    }

    fn touch(&mut self, owners: &Owners) {
        self.stale
            .extend(owners.iter().map(|(shard, _)| shard.0 / SEGMENT));
    }
}

impl Carried {
    fn add(&mut self, shard: ShardId, before: Option<Owner>, after: Option<Owner>) {
        if let Some(owner) = after {
            self.answer.push((shard, owner));
            if before != after {
                self.changed.push((shard, owner));
            }
        }
    }
}
