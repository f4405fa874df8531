//! Who is a member, who owns which shard, and who should.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use handover_proto::moment::Moment;

use crate::identity::{NodeId, NodeName, ShardId};
use crate::placement;
use crate::redundancy::Redundancy;
use crate::row::Role;
use crate::view::{Claim, Load, Member, Owner, Standing, Transfer};

/// The nodes of the cluster, as the engine says.
#[derive(Default)]
pub(crate) struct Members {
    all: BTreeMap<NodeId, Member>,
}

impl Members {
    /// Adds or replaces a member. Whether it is new, and whether what placement looks at changed.
    pub(crate) fn put(&mut self, member: Member) -> (bool, bool) {
        let (name, weight, standing) = (member.name.clone(), member.weight, member.standing);
        let load = self.get(member.id).map_or(member.load, |known| known.load);
        // What it says of itself by other means is newer than what its engine keeps.
        match self.all.insert(member.id, Member { load, ..member }) {
            None => (true, true),
            Some(before) => {
                let same =
                    (before.name, before.weight, before.standing) == (name, weight, standing);
                (false, !same)
            }
        }
    }

    /// A member says how busy it is. Whether that was not known.
    pub(crate) fn busy(&mut self, node: NodeId, load: Load) -> bool {
        let member = self.all.get_mut(&node);
        member.is_some_and(|member| core::mem::replace(&mut member.load, load) != load)
    }

    /// How busy all are, as far as they said so.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (NodeId, Load)> + '_ {
        let loads = self.all.values().map(|member| (member.id, member.load));
        loads.filter(|(_, load)| load.is_known())
    }

    pub(crate) fn remove(&mut self, node: NodeId) -> Option<Member> {
        self.all.remove(&node)
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.all.contains_key(&node)
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Member> {
        self.all.get(&node)
    }

    /// Whether a node takes processes.
    pub(crate) fn serves(&self, node: NodeId) -> bool {
        self.get(node)
            .is_some_and(|member| member.standing == Standing::Serving)
    }

    /// The member of a name; of several the one that joined last, the others are its past.
    pub(crate) fn named(&self, name: &NodeName) -> Option<&Member> {
        let of_name = self.all.values().filter(|member| member.name == *name);
        of_name.max_by_key(|member| (member.joined_ms, member.id))
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.all.keys().copied()
    }

    /// All but one.
    pub(crate) fn others(&self, me: NodeId) -> Vec<NodeId> {
        self.ids().filter(|id| *id != me).collect()
    }

    pub(crate) fn list(&self) -> Vec<Member> {
        self.all.values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// The oldest: it decides what one node must decide alone.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let oldest = self.all.values().min_by_key(|m| (m.joined_ms, m.id));
        oldest.map(|member| member.id)
    }
}

/// One shard as this node sees it.
#[derive(Clone, Default)]
struct Seat {
    owner: Option<Owner>,
    /// Whom placement names.
    wanted: Option<NodeId>,
    /// Who runs its processes, where that is more than one node.
    hosts: Vec<(NodeId, Role)>,
    /// When the engine was last asked about it, until it answers.
    asked: Option<Moment>,
}

/// Who owns the shards, and who should.
pub(crate) struct Table {
    seats: Vec<Seat>,
}

/// What the engine is to be asked.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) claims: Vec<Claim>,
    pub(crate) transfers: Vec<Transfer>,
}

impl Table {
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            seats: alloc::vec![Seat::default(); usize::from(shards.max(1))],
        }
    }

    fn seat(&mut self, shard: ShardId) -> Option<&mut Seat> {
        self.seats.get_mut(usize::from(shard.0))
    }

    /// Whether there is such a shard: another node's word is not taken for it.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        usize::from(shard.0) < self.seats.len()
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let shards = u16::try_from(self.seats.len()).unwrap_or(u16::MAX);
        (0..shards).map(ShardId)
    }

    pub(crate) fn owner(&self, shard: ShardId) -> Option<Owner> {
        self.seats.get(usize::from(shard.0))?.owner
    }

    /// Whom placement names as its home, and as host of its processes.
    pub(crate) fn wanted(&self, shard: ShardId) -> Option<NodeId> {
        self.seats.get(usize::from(shard.0))?.wanted
    }

    /// Who should run its processes, where that is more than one node.
    pub(crate) fn hosts(&self, shard: ShardId) -> &[(NodeId, Role)] {
        let seat = self.seats.get(usize::from(shard.0));
        seat.map_or(&[], |seat| &seat.hosts)
    }

    /// Takes the engine's word. Whether it is news.
    pub(crate) fn own(&mut self, shard: ShardId, owner: Owner) -> bool {
        let Some(seat) = self.seat(shard) else {
            return false;
        };
        seat.asked = None;
        seat.owner.replace(owner) != Some(owner)
    }

    /// Places all shards anew.
    pub(crate) fn place(&mut self, members: &Members, redundancy: &Redundancy) {
        let shards = u16::try_from(self.seats.len()).unwrap_or(u16::MAX);
        let members = members.list();
        let homes = placement::homes(&members, shards);
        let many = redundancy.replicas(members.len()) > 1;
        for (shard, seat) in (0..shards).map(ShardId).zip(&mut self.seats) {
            seat.wanted = homes.get(usize::from(shard.0)).copied();
            seat.hosts = match seat.wanted {
                Some(home) if many => redundancy.hosts(shard, home, &members),
                Some(_) | None => Vec::new(),
            };
        }
    }

    /// What this node should ask of the engine so that every shard gets the home it should have
    /// (H8). What was asked since `asked_since` is not asked again.
    pub(crate) fn wishes(
        &mut self,
        shards: impl Iterator<Item = ShardId>,
        me: NodeId,
        members: &Members,
        now: Moment,
        asked_since: impl Fn(Moment) -> bool,
    ) -> Wishes {
        let mut wishes = Wishes::default();
        for shard in shards {
            let Some(seat) = self.seat(shard) else {
                continue;
            };
            let Some(wanted) = seat.wanted.filter(|node| members.has(*node)) else {
                continue;
            };
            if seat.asked.is_some_and(&asked_since) {
                continue;
            }
            match seat.owner {
                Some(owner) if owner.node == me && wanted != me => {
                    wishes.transfers.push(Transfer {
                        shard,
                        term: owner.term,
                        to: wanted,
                    });
                }
                Some(owner) if wanted == me && !members.has(owner.node) => {
                    wishes.claims.push(Claim {
                        shard,
                        over: Some(owner.term),
                    });
                }
                None if wanted == me => wishes.claims.push(Claim { shard, over: None }),
                Some(_) | None => continue,
            }
            seat.asked = Some(now);
        }
        wishes
    }

    /// Remembers that a shard was claimed for another reason than placement.
    pub(crate) fn asked(&mut self, shard: ShardId, now: Moment) {
        if let Some(seat) = self.seat(shard) {
            seat.asked = Some(now);
        }
    }

    /// Whether a node owns what it should, and nothing else.
    pub(crate) fn is_as_wanted(&self, me: NodeId) -> bool {
        self.seats.iter().all(|seat| {
            let owns = seat.owner.is_some_and(|owner| owner.node == me);
            seat.wanted.is_none_or(|wanted| (wanted == me) == owns)
        })
    }

    /// The engine has not answered about some shard.
    pub(crate) fn waits(&self) -> bool {
        self.seats.iter().any(|seat| seat.asked.is_some())
    }
}
