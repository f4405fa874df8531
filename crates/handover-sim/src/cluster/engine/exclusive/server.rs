//! What the servers do.

use handover_hub_proto::identity::{NodeId, ShardId, Term};
use handover_hub_proto::view::{Claim, Departure, EngineEvent, Member, Owner, Transfer};

use super::{Registered, Store, StoreEvent, Wish};
use crate::cluster::agenda::{MILLISECOND, Time};
use crate::cluster::engine::Surroundings;
use crate::cluster::network::RunIndex;
use crate::cluster::world::Event;

impl Store {
    pub(super) fn beat_arrived(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        sent: Time,
    ) {
        let (now, ttl) = (around.agenda.now(), self.ttl);
        let Some(back) = self.way(around, run) else {
            return;
        };
        self.operations.heartbeats += 1;
        let node = self.sessions[run].me.id;
        let registered = self.members.get_mut(&node);
        let found = registered.is_some();
        if let Some(registered) = registered {
            registered.expires = now + ttl;
            let expiry = Event::Store(StoreEvent::Expiry(node));
            around.agenda.at(now + ttl, expiry);
        }
        let answered = StoreEvent::BeatAnswered { run, sent, found };
        around.agenda.after(back, Event::Store(answered));
    }

    /// A name belongs to one node at a time: another one with this name must be gone first.
    pub(super) fn registration(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        sent: Time,
    ) {
        let Some(back) = self.way(around, run) else {
            return;
        };
        let me = self.sessions[run].me.clone();
        let mut others = self.members.values();
        if others.any(|other| other.member.name == me.name && other.member.id != me.id) {
            return;
        }
        let (node, expires) = (me.id, around.agenda.now() + self.ttl);
        let registered = Registered {
            member: me.clone(),
            expires,
        };
        self.members.insert(node, registered);
        let expiry = Event::Store(StoreEvent::Expiry(node));
        around.agenda.at(expires, expiry);
        self.change(around, EngineEvent::Member(me));
        let registered = StoreEvent::Registered { run, sent };
        around.agenda.after(back, Event::Store(registered));
    }

    pub(super) fn wished(&mut self, around: &mut Surroundings<'_>, run: RunIndex, number: u64) {
        let Some(back) = self.way(around, run) else {
            return;
        };
        let Some(wish) = self.sessions[run].wished(number) else {
            return;
        };
        self.operations.changes += 1;
        let node = self.sessions[run].me.id;
        let owners = match wish {
            Wish::Claim(claims) => self.claim(around, node, &claims),
            Wish::Transfer(transfers) => self.transfer(around, node, &transfers),
            Wish::Announce(member) => self.announce(around, member),
            Wish::Leave => self.leave(around, node),
        };
        let granted = StoreEvent::Granted {
            run,
            number,
            owners,
        };
        around.agenda.after(back, Event::Store(granted));
    }

    fn claim(
        &mut self,
        around: &mut Surroundings<'_>,
        node: NodeId,
        claims: &[Claim],
    ) -> Vec<(ShardId, Owner)> {
        let lives = self.members.contains_key(&node);
        let free = |claim: &&Claim| {
            let owner = self.shards.get(&claim.shard);
            let gone = owner
                .is_none_or(|owner| owner.node == node || !self.members.contains_key(&owner.node));
            owner.map(|owner| owner.term) == claim.over && gone && lives
        };
        let won = claims.iter().filter(free);
        let won = won.map(|claim| (claim.shard, node)).collect();
        self.give(around, won);
        self.owners_of(claims.iter().map(|claim| claim.shard))
    }

    fn transfer(
        &mut self,
        around: &mut Surroundings<'_>,
        node: NodeId,
        transfers: &[Transfer],
    ) -> Vec<(ShardId, Owner)> {
        let may = |transfer: &&Transfer| {
            let owner = self.shards.get(&transfer.shard);
            owner.is_some_and(|owner| owner.node == node && owner.term == transfer.term)
                && self.members.contains_key(&transfer.to)
        };
        let given = transfers.iter().filter(may);
        let given = given
            .map(|transfer| (transfer.shard, transfer.to))
            .collect();
        self.give(around, given);
        self.owners_of(transfers.iter().map(|transfer| transfer.shard))
    }

    /// One transaction: one revision.
    fn give(&mut self, around: &mut Surroundings<'_>, given: Vec<(ShardId, NodeId)>) {
        if given.is_empty() {
            return;
        }
        self.revision += 1;
        self.operations.shards += given.len() as u64;
        let term = Term(self.revision);
        let mut owners = Vec::with_capacity(given.len());
        for (shard, node) in given {
            let owner = Owner { node, term };
            self.shards.insert(shard, owner);
            owners.push((shard, owner));
        }
        self.change(around, EngineEvent::Owners(owners));
    }

    fn owners_of(&self, shards: impl Iterator<Item = ShardId>) -> Vec<(ShardId, Owner)> {
        let owned = shards.map(|shard| (shard, self.shards.get(&shard).copied()));
        owned
            .filter_map(|(shard, owner)| Some((shard, owner?)))
            .collect()
    }

    fn announce(&mut self, around: &mut Surroundings<'_>, member: Member) -> Vec<(ShardId, Owner)> {
        if let Some(registered) = self.members.get_mut(&member.id) {
            registered.member = member.clone();
            self.change(around, EngineEvent::Member(member));
        }
        Vec::new()
    }

    fn leave(&mut self, around: &mut Surroundings<'_>, node: NodeId) -> Vec<(ShardId, Owner)> {
        if self.members.remove(&node).is_some() {
            let cause = Departure::Left;
            self.change(around, EngineEvent::Gone { node, cause });
        }
        Vec::new()
    }

    pub(super) fn expiry(&mut self, around: &mut Surroundings<'_>, node: NodeId) {
        let now = around.agenda.now();
        let registered = self.members.get(&node);
        if registered.is_some_and(|registered| registered.expires <= now) && !self.down {
            self.members.remove(&node);
            let cause = Departure::Lost;
            self.change(around, EngineEvent::Gone { node, cause });
        }
    }

    fn change(&mut self, around: &mut Surroundings<'_>, event: EngineEvent) {
        self.changes.push(event);
        for (run, session) in self.sessions.iter_mut().enumerate() {
            if session.over || std::mem::replace(&mut session.watching, true) {
                continue;
            }
            let latency = around.network.latency().draw(around.random);
            let watch = Event::Store(StoreEvent::Watch(run));
            around
                .agenda
                .after(MILLISECOND / 2 + self.slow + latency, watch);
        }
    }
}
