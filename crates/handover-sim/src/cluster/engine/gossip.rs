//! Nodes that tell each other whom they know and what they own; each has a view of its own.
//!
//! A view holds the highest claim it ever saw of each shard. Who was not heard of for a while is
//! taken for dead, which may be wrong; whoever is heard of again is a member again.

use std::collections::BTreeMap;
use std::rc::Rc;

use handover_hub_proto::identity::{NodeId, ShardId, Term};
use handover_hub_proto::view::{
    Claim, Departure, EngineEvent, EngineOrder, Member, Owner, Transfer,
};

use super::{Operations, Surroundings};
use crate::cluster::agenda::{MILLISECOND, Time};
use crate::cluster::network::{Network, RunIndex};
use crate::cluster::world::Event;

/// Between two rounds of a node.
const ROUND: Time = 300 * MILLISECOND;

/// Peers told in a round.
const PEERS: usize = 3;

/// What a node says of itself and of others.
#[derive(Clone, Debug)]
struct Known {
    member: Member,
    run: RunIndex,
    version: u64,
    heartbeat: u64,
    left: bool,
    /// When its heartbeat last grew, by the clock of who holds this.
    heard: Time,
    live: bool,
}

/// All that a node knows.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    members: BTreeMap<NodeId, Known>,
    claims: BTreeMap<ShardId, Owner>,
}

/// What is due at a node.
#[derive(Clone, Debug)]
pub enum GossipEvent {
    /// It tells some others what it knows.
    Round(RunIndex),
    /// It is told.
    Told {
        /// Who.
        run: RunIndex,
        /// By whom.
        from: RunIndex,
        /// Whether it answers with what it knows.
        answer: bool,
        /// What.
        all: Rc<Knowledge>,
    },
    /// The address of another refuses connections: its program is gone.
    Refused {
        /// Who finds it.
        run: RunIndex,
        /// Whose.
        node: NodeId,
    },
}

impl GossipEvent {
    /// At whom.
    #[must_use]
    pub const fn at(&self) -> RunIndex {
        match self {
            Self::Round(run) | Self::Told { run, .. } | Self::Refused { run, .. } => *run,
        }
    }
}

#[derive(Debug)]
struct View {
    me: NodeId,
    over: bool,
    seeds: Vec<RunIndex>,
    all: Rc<Knowledge>,
}

/// All views.
#[derive(Debug)]
pub struct Gossip {
    views: Vec<View>,
    /// Who was not heard of for so long is taken for dead.
    patience: Time,
    /// Broken on purpose: of two claims the one heard last counts.
    pub fickle: bool,
    /// What was done.
    pub operations: Operations,
}

impl Gossip {
    /// Nobody knows anybody.
    #[must_use]
    pub const fn new(patience: Time) -> Self {
        Self {
            views: Vec::new(),
            patience,
            fickle: false,
            operations: Operations {
                changes: 0,
                shards: 0,
                heartbeats: 0,
            },
        }
    }

    /// Who owns which shard in the eyes of a node.
    #[must_use]
    pub fn owners(&self, run: RunIndex) -> Option<&BTreeMap<ShardId, Owner>> {
        self.views.get(run).map(|view| &view.all.claims)
    }

    pub(super) fn join(&mut self, around: &mut Surroundings<'_>, me: Member, seeds: &[RunIndex]) {
        let run = self.views.len();
        let known = Known {
            run,
            version: 1,
            heartbeat: 1,
            left: false,
            heard: around.agenda.now(),
            live: true,
            member: me.clone(),
        };
        let mut all = Knowledge::default();
        all.members.insert(me.id, known);
        self.views.push(View {
            me: me.id,
            over: false,
            seeds: seeds.to_vec(),
            all: Rc::new(all),
        });
        around.tells.push((run, EngineEvent::Member(me)));
        around.tells.push((run, EngineEvent::Ready));
        self.round(around, run);
    }

    pub(super) fn end(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        let Some(view) = self.views.get_mut(run) else {
            return;
        };
        view.over = true;
        let node = view.me;
        for other in 0..self.views.len() {
            if around.network.connects_if_alive(other, run) && around.random.chance(800) {
                let pause = Network::reset(around.random);
                let refused = GossipEvent::Refused { run: other, node };
                around.agenda.after(pause, Event::Gossip(refused));
            }
        }
    }

    pub(super) fn happen(&mut self, around: &mut Surroundings<'_>, event: GossipEvent) {
        if self.views.get(event.at()).is_none_or(|view| view.over) {
            return;
        }
        match event {
            GossipEvent::Round(run) => self.round(around, run),
            GossipEvent::Told {
                run,
                from,
                answer,
                all,
            } => {
                self.merge(around, run, &all);
                if answer {
                    self.tell(around, run, from, false);
                }
            }
            GossipEvent::Refused { run, node } => self.bury(around, run, node, Departure::Lost),
        }
    }

    /// A node takes another for dead.
    pub(super) fn suspect(&mut self, around: &mut Surroundings<'_>, by: RunIndex, whom: NodeId) {
        if self
            .views
            .get(by)
            .is_some_and(|view| !view.over && view.me != whom)
        {
            self.bury(around, by, whom, Departure::Lost);
        }
    }

    fn bury(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        node: NodeId,
        cause: Departure,
    ) {
        let all = Rc::make_mut(&mut self.views[run].all);
        let Some(known) = all.members.get_mut(&node) else {
            return;
        };
        if std::mem::replace(&mut known.live, false) {
            around.tells.push((run, EngineEvent::Gone { node, cause }));
        }
    }

    fn round(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        let pause = around.random.between(ROUND / 2, ROUND * 3 / 2);
        let again = Event::Gossip(GossipEvent::Round(run));
        around.agenda.after(pause, again);
        self.operations.heartbeats += 1;
        let now = around.agenda.now();
        let patience = self.patience;
        let view = &mut self.views[run];
        let me = view.me;
        let all = Rc::make_mut(&mut view.all);
        if let Some(known) = all.members.get_mut(&me) {
            known.heartbeat += 1;
            known.heard = now;
        }
        let silent = |known: &&Known| known.live && known.heard + patience < now;
        let silent = all.members.values().filter(silent);
        let silent: Vec<_> = silent.map(|known| known.member.id).collect();
        let peers = all.members.values();
        let peers = peers.filter(|known| known.member.id != me && !known.left);
        let mut peers: Vec<_> = peers.map(|known| known.run).collect();
        // As chitchat does, so that islands whose members know nobody else find each other.
        let strangers = view.seeds.iter().filter(|seed| !peers.contains(seed));
        let strangers: Vec<_> = strangers.copied().collect();
        if peers.is_empty() {
            peers.clone_from(&view.seeds);
        }
        for node in silent {
            self.bury(around, run, node, Departure::Lost);
        }
        for _ in 0..PEERS {
            if let Some(peer) = around.random.one(&peers).copied() {
                self.tell(around, run, peer, true);
            }
        }
        if !strangers.is_empty()
            && let Some(stranger) = around.random.one(&strangers).copied()
        {
            self.tell(around, run, stranger, true);
        }
    }

    fn tell(&self, around: &mut Surroundings<'_>, from: RunIndex, run: RunIndex, answer: bool) {
        if from == run || !around.network.connects(from, run) {
            return;
        }
        let way = around.network.latency().draw(around.random);
        let all = Rc::clone(&self.views[from].all);
        let told = GossipEvent::Told {
            run,
            from,
            answer,
            all,
        };
        around.agenda.after(way, Event::Gossip(told));
    }

    /// What is new is told at once to all; rounds repair what was lost.
    fn tell_all(&self, around: &mut Surroundings<'_>, from: RunIndex) {
        let members = self.views[from].all.members.values();
        let peers: Vec<_> = members.filter(|k| k.live).map(|known| known.run).collect();
        for peer in peers {
            self.tell(around, from, peer, false);
        }
    }

    fn merge(&mut self, around: &mut Surroundings<'_>, run: RunIndex, told: &Knowledge) {
        let now = around.agenda.now();
        let fickle = self.fickle;
        let view = &mut self.views[run];
        let me = view.me;
        let all = Rc::make_mut(&mut view.all);
        for (node, theirs) in told.members.iter().filter(|(node, _)| **node != me) {
            let mine = all.members.get(node);
            let newer = mine.is_none_or(|mine| theirs.heartbeat > mine.heartbeat);
            let left = theirs.left && mine.is_some_and(|mine| !mine.left);
            if !newer && !left {
                continue;
            }
            let was = mine.map(|mine| (mine.live, mine.version));
            let mut known = theirs.clone();
            known.heard = now;
            known.live = !theirs.left;
            let changed = was != Some((true, theirs.version));
            if known.live && changed {
                let member = EngineEvent::Member(known.member.clone());
                around.tells.push((run, member));
            } else if !known.live && was.is_some_and(|(live, _)| live) {
                let (node, cause) = (*node, Departure::Left);
                around.tells.push((run, EngineEvent::Gone { node, cause }));
            }
            all.members.insert(*node, known);
        }
        let mut owners = Vec::new();
        for (shard, theirs) in &told.claims {
            let mine = all.claims.get(shard);
            let wins = |mine: &Owner| (theirs.term, theirs.node) > (mine.term, mine.node);
            if mine.is_none_or(|mine| wins(mine) || (fickle && mine != theirs)) {
                all.claims.insert(*shard, *theirs);
                owners.push((*shard, *theirs));
            }
        }
        if !owners.is_empty() {
            around.tells.push((run, EngineEvent::Owners(owners)));
        }
    }

    pub(super) fn order(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        order: EngineOrder,
    ) {
        self.operations.changes += 1;
        let view = &mut self.views[run];
        let me = view.me;
        let all = Rc::make_mut(&mut view.all);
        let owners = match order {
            EngineOrder::Claim(claims) => claim(all, me, &claims),
            EngineOrder::Transfer(transfers) => give(all, me, &transfers),
            EngineOrder::Announce(member) => {
                if let Some(known) = all.members.get_mut(&me) {
                    known.member = member.clone();
                    known.version += 1;
                    known.heartbeat += 1;
                }
                around.tells.push((run, EngineEvent::Member(member)));
                Vec::new()
            }
            EngineOrder::Leave => {
                if let Some(known) = all.members.get_mut(&me) {
                    known.left = true;
                    known.heartbeat += 1;
                }
                Vec::new()
            }
        };
        self.operations.shards += owners.len() as u64;
        if !owners.is_empty() {
            around.tells.push((run, EngineEvent::Owners(owners)));
        }
        self.tell_all(around, run);
    }
}

fn claim(all: &mut Knowledge, me: NodeId, claims: &[Claim]) -> Vec<(ShardId, Owner)> {
    let mut owners = Vec::new();
    for Claim { shard, over } in claims {
        let owner = all.claims.get(shard).copied();
        let lives = |node: &NodeId| all.members.get(node).is_some_and(|known| known.live);
        let free = owner.is_none_or(|owner| owner.node == me || !lives(&owner.node));
        let now = match owner {
            owner if free && owner.map(|owner| owner.term) == *over => Owner {
                node: me,
                term: Term(over.map_or(1, |term| term.0 + 1)),
            },
            Some(owner) => owner,
            None => continue,
        };
        all.claims.insert(*shard, now);
        owners.push((*shard, now));
    }
    owners
}

fn give(all: &mut Knowledge, me: NodeId, transfers: &[Transfer]) -> Vec<(ShardId, Owner)> {
    let mut owners = Vec::new();
    for Transfer { shard, term, to } in transfers {
        let Some(owner) = all.claims.get_mut(shard) else {
            continue;
        };
        if owner.node == me && owner.term == *term {
            *owner = Owner {
                node: *to,
                term: Term(term.0 + 1),
            };
        }
        owners.push((*shard, *owner));
    }
    owners
}
