//! One task that hears everything and says what follows from it.

mod joining;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use handover_hub_proto::claim;
use handover_hub_proto::identity::{HubName, NodeId};
use handover_hub_proto::view::{EngineEvent, EngineOrder, Member};
use tokio::sync::{mpsc, oneshot};

use self::joining::Joining;
use super::Gossip;
use super::claims::Ledger;
use super::mail::{Contents, Mail, Published, open};
use super::roster::Roster;
use super::scuttlebutt::{Directory, Scuttlebutt};
use crate::engine::{Boottime, Charter, EngineError, Letter, SeatOrders};
use crate::transport::{PeerEvent, Posted};

/// How long a node may say nothing whose program is being replaced. As long as anybody would wait
/// for that, and no longer: it may have died over it.
const RESTS: Duration = Duration::from_secs(30);

/// After chitchat ended, which it does only by a fault of its own.
const AGAIN: Duration = Duration::from_secs(1);

const NANOS_PER_MILLI: u64 = 1_000_000;

pub(super) struct Driver {
    gossip: Gossip,
    pub(super) me: Published,
    hub: HubName,
    pub(super) outbox: mpsc::Sender<Letter>,
    pub(super) backlog: VecDeque<EngineEvent>,
    pub(super) roster: Roster,
    pub(super) ledger: Ledger,
    pub(super) directory: Arc<Directory>,
    /// The version of what was last taken of each member.
    seen: BTreeMap<NodeId, u64>,
    joining: Option<Joining>,
}

/// What a driver listens to, and whom it tells.
pub(super) struct Ears {
    pub(super) inbox: mpsc::Receiver<Posted>,
    pub(super) orders: mpsc::Receiver<EngineOrder>,
    pub(super) events: mpsc::Sender<EngineEvent>,
    pub(super) seat: SeatOrders,
}

/// What becomes of the driver.
enum Next {
    Go,
    /// It rested, and goes on under a higher generation.
    Again,
    End,
}

impl Driver {
    pub(super) fn new(
        gossip: Gossip,
        me: Member,
        Charter { hub, shards, .. }: Charter,
        outbox: mpsc::Sender<Letter>,
    ) -> Self {
        let id = me.id;
        let me = Published {
            revision: 1,
            member: me,
        };
        let grace = gossip.pace.grace;
        Self {
            backlog: VecDeque::from([EngineEvent::Member(me.member.clone())]),
            roster: Roster::new(me.clone(), grace, Instant::now()),
            ledger: Ledger::new(id, shards),
            joining: None,
            directory: Arc::default(),
            seen: BTreeMap::new(),
            gossip,
            me,
            hub,
            outbox,
        }
    }

    /// Runs until it is told to leave or nobody listens any more.
    pub(super) async fn run(
        mut self,
        ears: Ears,
        joined: oneshot::Sender<Result<(), EngineError>>,
    ) {
        self.joining = Some(Joining::new(&self.gossip, &self.me.member, joined));
        self.go(ears).await;
    }

    pub(super) async fn go(mut self, mut ears: Ears) {
        // Higher with each restart; a node that hands over to its successor, on the same host, keeps
        // its id. Not by the wall clock, which may be set back between the two.
        let mut generation = 0;
        loop {
            let now = Boottime::now().0 / NANOS_PER_MILLI;
            generation = now.max(generation + 1);
            match self.start(generation).await {
                Ok(mut scuttlebutt) => match self.serve(&mut scuttlebutt, &mut ears).await {
                    Next::End => return,
                    Next::Again => continue,
                    Next::Go => tracing::error!("gossip ended by itself and is started again"),
                },
                Err(error) => tracing::error!(error, "gossip could not be started"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn start(&mut self, generation: u64) -> Result<Scuttlebutt, String> {
        self.seen.clear();
        self.ledger.publish_all();
        Scuttlebutt::start(
            &self.gossip,
            &self.hub,
            &self.me,
            generation,
            &self.directory,
            &self.outbox,
        )
        .await
    }

    async fn serve(&mut self, scuttlebutt: &mut Scuttlebutt, ears: &mut Ears) -> Next {
        let mut ticks = tokio::time::interval(self.gossip.pace.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut live = scuttlebutt.live.clone();
        let ended = scuttlebutt.ended();
        tokio::pin!(ended);
        loop {
            let said = !self.backlog.is_empty() && self.joining.is_none();
            tokio::select! {
                permit = ears.events.reserve(), if said => match permit {
                    Ok(permit) => if let Some(event) = self.backlog.pop_front() {
                        permit.send(event);
                    },
                    Err(_) => return Next::End,
                },
                posted = ears.inbox.recv() => match posted {
                    Some(posted) => self.posted(posted, scuttlebutt),
                    None => return Next::End,
                },
                order = ears.orders.recv() => match order {
                    Some(EngineOrder::Leave) => {
                        self.leave(scuttlebutt).await;
                        return Next::End;
                    }
                    Some(order) => self.order(order, scuttlebutt).await,
                    None => return Next::End,
                },
                Some(order) = ears.seat.recv() => {
                    scuttlebutt.stop();
                    return if self.rest(&mut ears.seat, order).await { Next::Again } else { Next::End };
                }
                _ = live.changed() => self.gossiped(scuttlebutt),
                _ = ticks.tick() => self.tick(scuttlebutt),
                () = &mut ended => return Next::Go,
            }
            for (segment, claims) in self.ledger.unpublished() {
                scuttlebutt.publish_claims(segment, &claims).await;
            }
            if !self.go_on_joining() {
                return Next::End;
            }
        }
    }

    /// Something came from another node, or happened to a connection.
    fn posted(&mut self, posted: Posted, scuttlebutt: &Scuttlebutt) {
        match posted {
            Posted::Bytes {
                from,
                address,
                bytes,
            } => {
                if self.roster.may_live(from) {
                    self.directory.put(from, &address);
                }
                match open(&bytes) {
                    Contents::Scuttlebutt(message) => scuttlebutt.take(from, &message),
                    Contents::Mail(mail) => self.mail(from, &address, mail),
                    Contents::Unknown => {
                        tracing::debug!(%from, "a message of another version was passed over");
                    }
                }
            }
            Posted::Peer(event) => self.peer(event),
        }
    }

    fn mail(&mut self, from: NodeId, address: &str, mail: Mail) {
        let now = Instant::now();
        match mail {
            Mail::Join(said) if said.member.id == from => {
                let events = self.roster.heard(said, now);
                self.say(events);
                if self.roster.has(from) {
                    self.send(address, &self.welcome(from));
                }
            }
            Mail::Welcome {
                me,
                addresses,
                claims,
            } if me.member.id == from => {
                let events = self.roster.heard(me, now);
                self.say(events);
                if self.roster.has(from) {
                    self.hear(from, &claims);
                    self.welcomed(address, addresses);
                }
            }
            Mail::Changed(said) if said.member.id == from => {
                let events = self.roster.heard(said, now);
                self.say(events);
                self.roster.excuse(from, now + self.gossip.pace.grace);
            }
            Mail::Resting => self.roster.excuse(from, now + RESTS),
            Mail::Claims(claims) if self.roster.has(from) => self.hear(from, &claims),
            Mail::Left => {
                let events = self.roster.left(from, now);
                self.directory.remove(from);
                self.say(events);
            }
            // It does not know that it is no member here, or this node does not know it yet.
            Mail::Claims(_) => self.join(address),
            Mail::Join(_) | Mail::Welcome { .. } | Mail::Changed(_) => {
                tracing::warn!(%from, "a node spoke for another one and was not heard");
            }
        }
    }

    fn peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Refused { node, .. } | PeerEvent::Replaced { node, .. } => {
                let events = self.roster.refused(node, Instant::now());
                self.directory.remove(node);
                self.say(events);
            }
            PeerEvent::Connected(who) => {
                // After a divided network has healed, for one.
                if !self.roster.has(who.node) {
                    self.join(&who.address);
                }
            }
            PeerEvent::Rejected {
                address, rejection, ..
            } => {
                if let Some(joining) = &mut self.joining {
                    joining.rejected(&self.hub, address, rejection);
                }
            }
            // No proof of anything; the detector will say.
            PeerEvent::Disconnected(_) => {}
        }
    }

    async fn order(&mut self, order: EngineOrder, scuttlebutt: &Scuttlebutt) {
        let carried = match order {
            EngineOrder::Claim(claims) => {
                let roster = &self.roster;
                self.ledger.claim(claims, |node| !roster.has(node))
            }
            EngineOrder::Transfer(transfers) => self.ledger.transfer(transfers),
            EngineOrder::Announce(member) => {
                self.announce(member, scuttlebutt).await;
                return;
            }
            EngineOrder::Leave => return,
        };
        if !carried.changed.is_empty() {
            self.send_to_all(&Mail::Claims(claim::encode(&carried.changed)));
        }
        if !carried.answer.is_empty() {
            self.backlog.push_back(EngineEvent::Owners(carried.answer));
        }
    }

    async fn announce(&mut self, member: Member, scuttlebutt: &Scuttlebutt) {
        if member.id != self.me.member.id || member == self.me.member {
            return;
        }
        let mut busier = self.me.member.clone();
        busier.load = member.load;
        let only_load = busier == member;
        self.me = Published {
            revision: self.me.revision + 1,
            member,
        };
        scuttlebutt.publish(&self.me).await;
        let events = self.roster.heard(self.me.clone(), Instant::now());
        self.say(events);
        // Load changes all the time, and gossip is fast enough for it.
        if !only_load {
            self.send_to_all(&Mail::Changed(self.me.clone()));
        }
    }

    async fn leave(&mut self, scuttlebutt: &Scuttlebutt) {
        scuttlebutt.publish_left().await;
        self.send_to_all(&Mail::Left);
        scuttlebutt.stop();
    }

    /// Gossip has news.
    fn gossiped(&mut self, scuttlebutt: &mut Scuttlebutt) {
        let now = Instant::now();
        let heard = scuttlebutt.heard(&self.seen, self.ledger.segments());
        let mut alive = BTreeMap::new();
        for (node, news) in &heard {
            if news.as_ref().is_some_and(|news| news.left) {
                let events = self.roster.left(*node, now);
                self.directory.remove(*node);
                self.say(events);
                continue;
            }
            let published = news.as_ref().and_then(|news| news.published.clone());
            if let Some(published) = &published
                && self.roster.may_live(*node)
            {
                self.directory.put(*node, &published.member.address);
            }
            alive.insert(*node, published);
        }
        let events = self.roster.alive(&alive, now);
        self.say(events);
        for (node, news) in heard {
            let Some(news) = news.filter(|_| self.roster.has(node)) else {
                continue;
            };
            self.seen.insert(node, news.version);
            if node != self.me.member.id {
                for claims in &news.claims {
                    self.hear(node, claims);
                }
            }
        }
    }

    fn tick(&mut self, scuttlebutt: &mut Scuttlebutt) {
        let events = self.roster.tick(Instant::now());
        self.say(events);
        // What gossip knows of a node that was no member then may count now.
        self.gossiped(scuttlebutt);
        let seeds: Vec<_> = match &self.joining {
            Some(joining) => joining.unanswered(),
            None if self.roster.others().next().is_none() => self.gossip.seeds.clone(),
            None => Vec::new(),
        };
        for seed in seeds {
            self.join(&seed);
        }
    }

    fn hear(&mut self, from: NodeId, claims: &str) {
        let changed = self.ledger.hear(from, claims);
        if !changed.is_empty() {
            self.backlog.push_back(EngineEvent::Owners(changed));
        }
    }

    fn say(&mut self, events: Vec<EngineEvent>) {
        for event in events {
            if let EngineEvent::Gone { node, .. } = &event {
                self.seen.remove(node);
                self.ledger.forget(*node);
            }
            self.backlog.push_back(event);
        }
    }

    fn welcome(&self, to: NodeId) -> Mail {
        Mail::Welcome {
            me: self.me.clone(),
            addresses: self
                .roster
                .others()
                .filter(|member| member.id != to)
                .map(|member| member.address.clone())
                .collect(),
            claims: self.ledger.all(),
        }
    }

    fn join(&self, address: &str) {
        if address != self.me.member.address {
            self.send(address, &Mail::Join(self.me.clone()));
        }
    }

    fn send(&self, address: &str, mail: &Mail) {
        self.send_bytes(address, mail.encode());
    }

    pub(super) fn send_to_all(&self, mail: &Mail) {
        let bytes = mail.encode();
        for member in self.roster.others() {
            self.send_bytes(&member.address, bytes.clone());
        }
    }

    fn send_bytes(&self, address: &str, bytes: Bytes) {
        // What finds no room is lost, and repaired by gossip.
        let _ = self.outbox.try_send(Letter {
            address: address.to_owned(),
            bytes,
        });
    }
}
