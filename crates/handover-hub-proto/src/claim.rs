//! Who owns which shard where no store decides it: the rule of the gossip engine.
//!
//! Of two claims to a shard the one with the higher term wins, and of two with the same term the
//! one of the higher [`NodeId`]. Merging by that rule is commutative, associative and idempotent:
//! whoever has heard the same claims, in any order and any number of times, names the same owners.
//!
//! In a divided network both parts claim the shards of the other, so at most one owner per part is
//! all that it gives; see [`Guarantees`](crate::view::Guarantees).

mod text;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::identity::{NodeId, ShardId, Term};
use crate::view::{Claim, Owner, Transfer};

pub use self::text::{SEGMENT, TextError, decode, encode};

/// The one of two claims that wins.
#[must_use]
pub fn winner(one: Owner, other: Owner) -> Owner {
    if (other.term, other.node) > (one.term, one.node) {
        other
    } else {
        one
    }
}

/// The owners of all shards as one node knows them.
#[derive(Clone, Debug)]
pub struct Claims {
    me: NodeId,
    owners: Vec<Option<Owner>>,
    /// Shards that this node gave away and whose new owner has not yet published that it has them:
    /// until then nobody else would.
    given: BTreeMap<ShardId, Owner>,
}

impl Claims {
    /// Knows of no owner yet.
    #[must_use]
    pub fn new(me: NodeId, shards: u16) -> Self {
        Self {
            me,
            owners: alloc::vec![None; usize::from(shards)],
            given: BTreeMap::new(),
        }
    }

    /// The owner of a shard, as far as is known here.
    #[must_use]
    pub fn owner(&self, shard: ShardId) -> Option<Owner> {
        self.owners.get(usize::from(shard.0)).copied().flatten()
    }

    /// All owners that are known here.
    pub fn owners(&self) -> impl Iterator<Item = (ShardId, Owner)> + '_ {
        (0..)
            .map(ShardId)
            .zip(&self.owners)
            .filter_map(|(shard, owner)| owner.map(|owner| (shard, owner)))
    }

    /// Merges what a node published. Returns the shards that have another owner, or another term,
    /// than before. Shards that this hub does not have are passed over.
    pub fn hear(&mut self, from: NodeId, said: &[(ShardId, Owner)]) -> Vec<(ShardId, Owner)> {
        let mut changed = Vec::new();
        for (shard, owner) in said {
            if self.merge(*shard, *owner) {
                changed.push((*shard, *owner));
            }
            let settled = |given: &Owner| from == given.node && owner.term >= given.term;
            let lost = |given: &Owner| winner(*given, *owner) != *given;
            if self
                .given
                .get(shard)
                .is_some_and(|given| settled(given) || lost(given))
            {
                self.given.remove(shard);
            }
        }
        changed
    }

    /// Claims a shard for this node if its term is what the claim says and its owner is this node or
    /// `gone`. Returns its owner then, whoever that is; none if this hub has no such shard or nobody
    /// owns it while the claim says that somebody does.
    pub fn claim(&mut self, claim: Claim, gone: impl Fn(NodeId) -> bool) -> Option<Owner> {
        let known = self.owner(claim.shard);
        let free = known.is_none_or(|owner| owner.node == self.me || gone(owner.node));
        if free && known.map(|owner| owner.term) == claim.over {
            self.replace(claim.shard, claim.over, self.me);
        }
        self.owner(claim.shard)
    }

    /// Gives a shard away if this node owns it under that term. Returns its owner then, whoever that
    /// is.
    pub fn transfer(&mut self, transfer: Transfer) -> Option<Owner> {
        let mine = Owner {
            node: self.me,
            term: transfer.term,
        };
        if self.owner(transfer.shard) == Some(mine) {
            self.replace(transfer.shard, Some(transfer.term), transfer.to);
        }
        self.owner(transfer.shard)
    }

    /// What this node has to publish of a segment of the shards, see [`SEGMENT`]: those it owns, and
    /// those it gave to a node that has not yet published them itself. What is not in it says nothing.
    #[must_use]
    pub fn published(&self, segment: u16) -> Vec<(ShardId, Owner)> {
        let first = u32::from(segment) * u32::from(SEGMENT);
        (first..first + u32::from(SEGMENT))
            .filter_map(|shard| u16::try_from(shard).ok().map(ShardId))
            .filter_map(|shard| self.owner(shard).map(|owner| (shard, owner)))
            .filter(|(shard, owner)| owner.node == self.me || self.given.contains_key(shard))
            .collect()
    }

    /// Nobody waits any more for what was given to a node: it is gone, and whoever claims its
    /// shards publishes them.
    pub fn forget(&mut self, node: NodeId) {
        self.given.retain(|_, owner| owner.node != node);
    }

    fn replace(&mut self, shard: ShardId, over: Option<Term>, node: NodeId) {
        let term = Term(over.map_or(1, |term| term.0.saturating_add(1)));
        let owner = Owner { node, term };
        if self.merge(shard, owner) && node != self.me {
            self.given.insert(shard, owner);
        } else {
            self.given.remove(&shard);
        }
    }

    fn merge(&mut self, shard: ShardId, owner: Owner) -> bool {
        let Some(known) = self.owners.get_mut(usize::from(shard.0)) else {
            return false;
        };
        let won = known.map_or(owner, |known| winner(known, owner));
        let changed = *known != Some(won);
        *known = Some(won);
        changed
    }
}

#[cfg(test)]
mod tests;
