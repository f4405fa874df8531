//! What the engine says of members and shards, and what it is asked.

use alloc::vec::Vec;
use handover_proto::moment::Moment;

use super::{Effect, Node, Timer};
use crate::event::Event;
use crate::home::Home;
use crate::identity::{NodeId, ShardId};
use crate::message::Item;
use crate::migration::MovementInput;
use crate::row::Rows;
use crate::view::{Claim, Departure, EngineEvent, EngineOrder, Member, Owner};

/// What was asked of the engine and not answered is asked again after this many retries' time.
const ENGINE_PATIENCE: u32 = 4;

impl<R: Rows> Node<R> {
    pub(crate) fn engine_says(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Ready => {
                self.ready = true;
                self.judge_ready();
                self.board_due();
                self.members_changed();
            }
            EngineEvent::Member(member) => self.member(member),
            EngineEvent::Gone { node, cause } => self.gone(node, cause),
            EngineEvent::Owners(owners) => self.owners(owners),
            EngineEvent::Fenced => self.fenced(true),
            EngineEvent::Unfenced => self.fenced(false),
        }
    }

    fn member(&mut self, member: Member) {
        let (node, name) = (member.id, member.name.clone());
        let (new, changed) = self.members.put(member);
        if new {
            self.effects
                .push_back(Effect::Report(Event::Joined { node }));
            if node != self.me.id {
                self.greet(node);
                if self.unheard.remove(&node) {
                    self.outbox.say(node, Item::Unheard);
                }
                self.judge_joined(node, &name);
                self.loads.forget_told();
            }
        }
        if changed {
            self.members_changed();
        }
        if node == self.me.id {
            self.announce_again();
        }
    }

    /// Tells a member what it must know of this node, which may have been said too early before.
    pub(crate) fn greet(&mut self, node: NodeId) {
        self.census_of_newcomer(node);
        self.say_digests(Some(node));
        self.say_emptying(Some(node));
        if self.members.leader() == Some(self.me.id) {
            self.say_declared(node);
        }
    }

    fn gone(&mut self, node: NodeId, cause: Departure) {
        if node == self.me.id || self.members.remove(node).is_none() {
            return;
        }
        self.effects
            .push_back(Effect::Report(Event::Gone { node, cause }));
        self.judge_gone(node, cause);
        self.outbox.forget(node);
        self.flights_without(node);
        self.settling = true;
        self.census_without(node);
        self.work_without(node);
        self.asks_lost(node);
        self.declares_no_more(node);
        self.passed_to_nobody(node);
        self.evacuations_without(node);
        self.emptying.remove(&node);
        self.pace.limit(node, None);
        self.fetch_again(self.now);
        let shards: Vec<ShardId> = self.homes.keys().copied().collect();
        for shard in shards {
            self.release(shard);
        }
        self.members_changed();
    }

    /// Members that come or go together cause one redistribution.
    pub(crate) fn members_changed(&mut self) {
        self.settling = true;
        self.pace.forget();
        for home in self.homes.values_mut() {
            home.placed.clear();
            home.sent.clear();
            home.later.retain(|_, later| later.deferral.is_some());
        }
        self.share_anew();
        let at = self.now + self.settings.debounce;
        self.timers.set_unless(Timer::Debounce, at);
    }

    /// Members have settled: shards and children are placed anew.
    pub(crate) fn settle(&mut self) {
        self.settling = false;
        if self.is_still() || !self.ready {
            return;
        }
        self.table.place(&self.members, &self.settings.redundancy);
        self.effects
            .push_back(Effect::Report(Event::Redistributing));
        self.redistributing = true;
        self.redistribute();
        self.review_all();
    }

    /// Says so when nothing is left of a redistribution that this node has to do.
    pub(crate) fn may_be_settled(&mut self) {
        let over = self.redistributing
            && !self.settling
            && !self.is_still()
            && self.sweep.is_empty()
            && self.pace.is_idle()
            && self.table.is_as_wanted(self.me.id)
            && self.homes.values().all(Home::is_quiet);
        if over {
            self.redistributing = false;
            self.effects.push_back(Effect::Report(Event::Settled));
        }
    }

    fn owners(&mut self, owners: Vec<(ShardId, Owner)>) {
        let mut own = Vec::new();
        for (shard, owner) in owners {
            if !self.table.has(shard) || !self.table.own(shard, owner) {
                continue;
            }
            self.effects.push_back(Effect::Report(Event::Owned {
                shard,
                node: owner.node,
                term: owner.term,
            }));
            if owner.node == self.me.id {
                own.push((shard, owner.term));
            } else {
                self.end_home(shard);
            }
            self.ask_new_home(shard);
        }
        for (shard, term) in own {
            self.begin_census(shard, term);
        }
        self.redistribute();
    }

    /// Asks the engine for what placement says and it has not been asked for.
    pub(crate) fn redistribute(&mut self) {
        if self.settling || !self.ready || self.is_still() {
            return;
        }
        let now = self.now;
        let patience = self.settings.retry * ENGINE_PATIENCE;
        let recent = move |asked: Moment| now.since(asked) < patience;
        let (shards, me) = (self.table.shards(), self.me.id);
        let mut wishes = self.table.wishes(shards, me, &self.members, now, recent);
        if self.stillness.grace_until.is_some_and(|until| now < until) {
            // Asked again by the retry, since the table remembers that these were asked.
            wishes.claims.retain(|claim| claim.over.is_none());
        }
        if !wishes.claims.is_empty() {
            let order = EngineOrder::Claim(wishes.claims);
            self.effects.push_back(Effect::Engine(order));
        }
        if !wishes.transfers.is_empty() {
            let order = EngineOrder::Transfer(wishes.transfers);
            self.effects.push_back(Effect::Engine(order));
        }
        if self.table.waits() {
            self.retry_later();
        }
    }

    /// Takes a shard of this node again under a new term: two homes can have granted under this.
    pub(crate) fn reclaim(&mut self, shard: ShardId) {
        let Some(owner) = self.table.owner(shard).filter(|o| o.node == self.me.id) else {
            return;
        };
        let claim = Claim {
            shard,
            over: Some(owner.term),
        };
        self.table.asked(shard, self.now);
        let order = EngineOrder::Claim(alloc::vec![claim]);
        self.effects.push_back(Effect::Engine(order));
        self.retry_later();
    }

    /// What was said to a node may not have come there, and what it said not here.
    pub(crate) fn disconnected(&mut self, node: NodeId) {
        if !self.members.has(node) {
            return;
        }
        self.asks_lost(node);
        self.loads.forget_told();
        self.declares_no_more(node);
        self.tell_movements(&MovementInput::Disconnected(node));
        self.census_of_newcomer(node);
        self.say_digests(Some(node));
    }
}
