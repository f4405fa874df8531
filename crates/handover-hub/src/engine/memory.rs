//! An exclusive engine for several hubs in one program: for tests and for trying things out.
//!
//! An [`Authority`] stands for the server that other engines talk to. Nothing happens by time: a
//! test says when a node is cut off, when its lease ends, and when it is heard again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use handover_hub_proto::identity::{HubName, NodeId, ShardId, Term};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::{
    Claim, Departure, EngineEvent, EngineOrder, Guarantees, Member, Owner, Transfer,
};
use tokio::sync::{mpsc, watch};

use super::{Boottime, BoxFuture, Charter, Engine, EngineError, Post, Session, Validity};

/// Events and orders that may wait for whoever takes them.
const QUEUE: usize = 1024;

/// Who decides for all hubs in this program that were given one of its engines.
#[derive(Clone, Debug, Default)]
pub struct Authority {
    state: Arc<Mutex<State>>,
}

/// One node's way to an [`Authority`].
#[derive(Debug)]
pub struct Memory {
    authority: Authority,
}

#[derive(Debug, Default)]
struct State {
    hubs: BTreeMap<HubName, Hub>,
    delay: Duration,
    failing: usize,
}

#[derive(Debug)]
struct Hub {
    shards: u16,
    owners: BTreeMap<ShardId, Owner>,
    /// Counts changes of owners, as etcd does.
    revision: u64,
    seats: BTreeMap<NodeId, Seat>,
}

/// A node, whether the others hold it for a member or not.
#[derive(Debug)]
struct Seat {
    member: Member,
    agreement: Agreement,
    /// The others see it.
    listed: bool,
    events: mpsc::UnboundedSender<EngineEvent>,
    valid: Arc<Validity>,
    /// Neither orders nor events pass.
    cut: watch::Sender<bool>,
}

impl Authority {
    /// An authority that knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine for one hub.
    #[must_use]
    pub fn engine(&self) -> Memory {
        Memory {
            authority: self.clone(),
        }
    }

    /// Cuts a node off: its orders and what it should hear wait. Its lease does not end by that.
    pub fn cut(&self, node: NodeId) {
        self.each(node, |hub| {
            if let Some(seat) = hub.seats.get(&node) {
                seat.cut.send_replace(true);
            }
        });
    }

    /// Lets a node be heard again. If its lease ended meanwhile, it joins anew and may go on.
    pub fn restore(&self, node: NodeId) {
        self.each(node, |hub| {
            if let Some(seat) = hub.seats.get(&node) {
                seat.cut.send_replace(false);
            }
            hub.join_anew(node);
        });
    }

    /// Ends a node's lease: it may not act from now on, then the others hear that it is gone. If it
    /// is not cut off, it joins anew at once.
    pub fn expire(&self, node: NodeId) {
        self.each(node, |hub| {
            hub.fence(node);
            let cut = hub.seats.get(&node).is_some_and(|seat| *seat.cut.borrow());
            if !cut {
                hub.join_anew(node);
            }
        });
    }

    /// How long every event and every order is on its way, from now on.
    pub fn delay(&self, time: Duration) {
        self.state().delay = time;
    }

    /// Refuses the next claims and transfers, this many orders: they change nothing and are
    /// answered with the owners as they are.
    pub fn fail_orders(&self, count: usize) {
        self.state().failing = count;
    }

    /// Who owns what in a hub.
    #[must_use]
    pub fn owners(&self, hub: &HubName) -> Vec<(ShardId, Owner)> {
        let state = self.state();
        let owners = state.hubs.get(hub).map(|hub| &hub.owners);
        let owners = owners.into_iter().flatten();
        owners.map(|(shard, owner)| (*shard, *owner)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each(&self, node: NodeId, mut change: impl FnMut(&mut Hub)) {
        let mut state = self.state();
        let of_it = |hub: &&mut Hub| hub.seats.contains_key(&node);
        state.hubs.values_mut().filter(of_it).for_each(&mut change);
    }

    fn join(&self, me: Member, charter: Charter) -> Result<Session, EngineError> {
        let Charter {
            hub,
            shards,
            agreement,
        } = charter;
        let mut state = self.state();
        let entry = state.hubs.entry(hub.clone()).or_insert_with(|| Hub {
            shards,
            owners: BTreeMap::new(),
            revision: 0,
            seats: BTreeMap::new(),
        });
        if entry.shards != shards {
            return Err(EngineError::Shards {
                hub,
                expected: entry.shards,
                found: shards,
            });
        }
        let differs = |seat: &Seat| agreement.differs(&seat.agreement);
        if let Some((setting, found, expected)) = entry.seats.values().find_map(differs) {
            return Err(EngineError::Disagreement {
                hub,
                setting: setting.to_owned(),
                expected,
                found,
            });
        }
        if let Some(seat) = entry.named(&me) {
            return Err(EngineError::NameTaken {
                name: me.name,
                node: seat.member.id,
                address: seat.member.address.clone(),
            });
        }
        let (events, heard) = mpsc::unbounded_channel();
        let (told, session_events) = mpsc::channel(QUEUE);
        let (orders, asked) = mpsc::channel(QUEUE);
        let valid = Arc::new(Validity::unlimited());
        let cut = watch::Sender::new(false);
        let (orders_pass, events_pass) = (cut.subscribe(), cut.subscribe());
        let node = me.id;
        entry.broadcast(&EngineEvent::Member(me.clone()));
        let seat = Seat {
            member: me,
            agreement,
            listed: true,
            events,
            valid: valid.clone(),
            cut,
        };
        entry.seats.insert(node, seat);
        entry.brief(node);
        drop(state);
        tokio::spawn(self.clone().tell(heard, told, events_pass));
        tokio::spawn(self.clone().obey(hub, node, asked, orders_pass));
        Ok(Session {
            events: session_events,
            orders,
            valid,
            seat: super::SeatHolder::fixed(),
        })
    }

    /// Brings events to a node while it is not cut off.
    async fn tell(
        self,
        mut heard: mpsc::UnboundedReceiver<EngineEvent>,
        told: mpsc::Sender<EngineEvent>,
        mut cut: watch::Receiver<bool>,
    ) {
        while let Some(event) = heard.recv().await {
            // A node knows by its own clock that its lease has ended.
            if event != EngineEvent::Fenced {
                self.travel(&mut cut).await;
            }
            if told.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Takes a node's orders while it is not cut off, until it leaves or is dropped.
    async fn obey(
        self,
        hub: HubName,
        node: NodeId,
        mut asked: mpsc::Receiver<EngineOrder>,
        mut cut: watch::Receiver<bool>,
    ) {
        let mut cause = Departure::Lost;
        while let Some(order) = asked.recv().await {
            self.travel(&mut cut).await;
            let mut state = self.state();
            let fails = state.failing > 0;
            let Some(hub) = state.hubs.get_mut(&hub) else {
                break;
            };
            match order {
                EngineOrder::Leave => {
                    cause = Departure::Left;
                    break;
                }
                EngineOrder::Announce(member) => {
                    hub.announce(member);
                    continue;
                }
                EngineOrder::Claim(claims) => hub.claim(node, &claims, fails),
                EngineOrder::Transfer(transfers) => hub.transfer(node, &transfers, fails),
            }
            state.failing = state.failing.saturating_sub(1);
        }
        let mut state = self.state();
        if let Some(hub) = state.hubs.get_mut(&hub) {
            hub.remove(node, cause);
        }
    }

    async fn travel(&self, cut: &mut watch::Receiver<bool>) {
        let delay = self.state().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // An error says that the node is gone; what is on its way then harms nobody.
        let _ = cut.wait_for(|cut| !cut).await;
    }
}

impl Hub {
    fn named(&self, me: &Member) -> Option<&Seat> {
        let same = |seat: &&Seat| seat.member.name == me.name && seat.listed;
        self.seats.values().find(same)
    }

    fn listed(&self, node: NodeId) -> bool {
        self.seats.get(&node).is_some_and(|seat| seat.listed)
    }

    fn broadcast(&self, event: &EngineEvent) {
        for seat in self.seats.values() {
            seat.say(event.clone());
        }
    }

    fn known(&self) -> Vec<(ShardId, Owner)> {
        self.owners
            .iter()
            .map(|(id, owner)| (*id, *owner))
            .collect()
    }

    /// Tells a node that has just joined all that is known.
    fn brief(&self, node: NodeId) {
        let Some(seat) = self.seats.get(&node) else {
            return;
        };
        for other in self.seats.values().filter(|other| other.listed) {
            seat.say(EngineEvent::Member(other.member.clone()));
        }
        let owners = self.known();
        if !owners.is_empty() {
            seat.say(EngineEvent::Owners(owners));
        }
        seat.say(EngineEvent::Ready);
    }

    fn fence(&mut self, node: NodeId) {
        let Some(seat) = self.seats.get_mut(&node).filter(|seat| seat.listed) else {
            return;
        };
        seat.listed = false;
        seat.valid.fence();
        seat.say(EngineEvent::Fenced);
        self.gone(node, Departure::Lost);
    }

    fn join_anew(&mut self, node: NodeId) {
        let Some(seat) = self.seats.get_mut(&node).filter(|seat| !seat.listed) else {
            return;
        };
        seat.listed = true;
        let member = seat.member.clone();
        self.broadcast(&EngineEvent::Member(member));
        let owners = self.known();
        let Some(seat) = self.seats.get(&node) else {
            return;
        };
        for other in self.seats.values().filter(|other| other.listed) {
            seat.say(EngineEvent::Member(other.member.clone()));
        }
        seat.say(EngineEvent::Owners(owners));
        seat.valid.restore(Boottime::NEVER);
        seat.say(EngineEvent::Unfenced);
    }

    fn remove(&mut self, node: NodeId, cause: Departure) {
        let listed = self.listed(node);
        if let Some(seat) = self.seats.remove(&node) {
            seat.valid.fence();
        }
        if listed {
            self.gone(node, cause);
        }
    }

    fn gone(&self, node: NodeId, cause: Departure) {
        for (_, seat) in self.seats.iter().filter(|(id, _)| **id != node) {
            seat.say(EngineEvent::Gone { node, cause });
        }
    }

    fn announce(&mut self, member: Member) {
        let Some(seat) = self.seats.get_mut(&member.id) else {
            return;
        };
        seat.member = member.clone();
        if seat.listed {
            self.broadcast(&EngineEvent::Member(member));
        }
    }

    fn claim(&mut self, node: NodeId, claims: &[Claim], fails: bool) {
        let may = self.listed(node) && !fails;
        let mut changed = Vec::new();
        for claim in claims {
            let owner = self.owners.get(&claim.shard).copied();
            let as_said = owner.map(|owner| owner.term) == claim.over;
            let free = owner.is_none_or(|owner| owner.node == node || !self.listed(owner.node));
            if may && as_said && free && claim.shard.0 < self.shards {
                changed.push((claim.shard, self.give(claim.shard, node)));
            }
        }
        let asked = claims.iter().map(|claim| claim.shard);
        self.answer(node, changed, asked);
    }

    fn transfer(&mut self, node: NodeId, transfers: &[Transfer], fails: bool) {
        let may = self.listed(node) && !fails;
        let mut changed = Vec::new();
        for transfer in transfers {
            let mine = Owner {
                node,
                term: transfer.term,
            };
            let held = self.owners.get(&transfer.shard) == Some(&mine);
            if may && held && self.listed(transfer.to) {
                changed.push((transfer.shard, self.give(transfer.shard, transfer.to)));
            }
        }
        let asked = transfers.iter().map(|transfer| transfer.shard);
        self.answer(node, changed, asked);
    }

    fn give(&mut self, shard: ShardId, node: NodeId) -> Owner {
        self.revision += 1;
        let owner = Owner {
            node,
            term: Term(self.revision),
        };
        self.owners.insert(shard, owner);
        owner
    }

    /// Tells who asked the owners of all it asked for, the others what changed.
    fn answer(
        &self,
        node: NodeId,
        changed: Vec<(ShardId, Owner)>,
        asked: impl Iterator<Item = ShardId>,
    ) {
        let owned = |shard| Some((shard, *self.owners.get(&shard)?));
        if let Some(seat) = self.seats.get(&node) {
            seat.say(EngineEvent::Owners(asked.filter_map(owned).collect()));
        }
        if changed.is_empty() {
            return;
        }
        for (_, seat) in self.seats.iter().filter(|(id, _)| **id != node) {
            seat.say(EngineEvent::Owners(changed.clone()));
        }
    }
}

impl Seat {
    fn say(&self, event: EngineEvent) {
        // An error says that nobody listens any more; the node is removed by whoever takes its
        // orders.
        let _ = self.events.send(event);
    }
}

impl Engine for Memory {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            exclusive: true,
            lease: None,
        }
    }

    fn start(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        _post: Post,
    ) -> BoxFuture<Result<Session, EngineError>> {
        Box::pin(async move { self.authority.join(me, hub) })
    }
}
