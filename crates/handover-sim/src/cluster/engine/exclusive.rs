//! etcd, and the client of it on each node.
//!
//! Members have leases, shards a revision that is their term. All changes are one list; each
//! client watches it at its own pace. A client vouches for its node until the last sign of life
//! that was answered is as old as the lease less a margin, counted from when it was sent.

mod client;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use handover_hub_proto::identity::{NodeId, ShardId};
use handover_hub_proto::view::{Claim, EngineEvent, EngineOrder, Member, Owner, Transfer};

use super::{Operations, Surroundings};
use crate::cluster::agenda::{MILLISECOND, SECOND, Time};
use crate::cluster::network::RunIndex;

use self::client::Session;

/// Shards in one transaction, as etcd's default limit of operations allows.
const TRANSACTION: usize = 60;

/// Something that one transaction asks for.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Own these.
    Claim(Vec<Claim>),
    /// Give these away.
    Transfer(Vec<Transfer>),
    /// Publish this.
    Announce(Member),
    /// Leave.
    Leave,
}

/// What is due at the servers or at a client.
#[derive(Clone, Debug)]
pub enum StoreEvent {
    /// A client shows that it lives, and repeats what was not answered.
    Beat(RunIndex),
    /// That arrived.
    BeatArrived {
        /// Whose.
        run: RunIndex,
        /// When it was sent.
        sent: Time,
    },
    /// Its answer arrived.
    BeatAnswered {
        /// Whose.
        run: RunIndex,
        /// When it was sent.
        sent: Time,
        /// Whether the lease was still there.
        found: bool,
    },
    /// A client asks for a lease and puts its member under it.
    Registration {
        /// Whose.
        run: RunIndex,
        /// When it was sent.
        sent: Time,
    },
    /// The answer of that.
    Registered {
        /// Whose.
        run: RunIndex,
        /// When it was sent.
        sent: Time,
    },
    /// A transaction arrived.
    Wished {
        /// Whose.
        run: RunIndex,
        /// Which.
        number: u64,
    },
    /// Its answer arrived.
    Granted {
        /// Whose.
        run: RunIndex,
        /// Which.
        number: u64,
        /// Owners after it.
        owners: Vec<(ShardId, Owner)>,
    },
    /// A lease may have ended.
    Expiry(NodeId),
    /// A client may have to fence its node.
    Doubt(RunIndex),
    /// A client reads what changed.
    Watch(RunIndex),
}

impl StoreEvent {
    /// The client that this happens at; none if it happens at the servers.
    #[must_use]
    pub const fn at(&self) -> Option<RunIndex> {
        match self {
            Self::Beat(run)
            | Self::BeatAnswered { run, .. }
            | Self::Registered { run, .. }
            | Self::Granted { run, .. }
            | Self::Doubt(run)
            | Self::Watch(run) => Some(*run),
            Self::BeatArrived { .. }
            | Self::Registration { .. }
            | Self::Wished { .. }
            | Self::Expiry(_) => None,
        }
    }
}

/// A member and its lease.
#[derive(Debug)]
struct Registered {
    member: Member,
    expires: Time,
}

/// The servers and all clients.
#[derive(Debug)]
pub struct Store {
    ttl: Time,
    margin: Time,
    revision: u64,
    members: BTreeMap<NodeId, Registered>,
    shards: BTreeMap<ShardId, Owner>,
    changes: Vec<EngineEvent>,
    sessions: Vec<Session>,
    down: bool,
    /// What everything takes in addition.
    pub slow: Time,
    /// Broken on purpose: a client vouches for its node for ever.
    pub vouches: bool,
    /// What was done.
    pub operations: Operations,
}

impl Store {
    /// Nobody is a member.
    #[must_use]
    pub const fn new(ttl: Time) -> Self {
        Self {
            ttl,
            margin: ttl / 5,
            revision: 0,
            members: BTreeMap::new(),
            shards: BTreeMap::new(),
            changes: Vec::new(),
            sessions: Vec::new(),
            down: false,
            slow: 0,
            vouches: false,
            operations: Operations {
                changes: 0,
                shards: 0,
                heartbeats: 0,
            },
        }
    }

    pub(super) const fn lease(&self) -> Duration {
        Duration::from_nanos(self.ttl - self.margin)
    }

    /// Who owns which shard.
    #[must_use]
    pub const fn owners(&self) -> &BTreeMap<ShardId, Owner> {
        &self.shards
    }

    pub(super) fn order(
        &mut self,
        around: &mut Surroundings<'_>,
        run: RunIndex,
        order: EngineOrder,
    ) {
        let wishes = match order {
            EngineOrder::Claim(claims) => {
                let parts = claims.chunks(TRANSACTION);
                parts.map(|part| Wish::Claim(part.to_vec())).collect()
            }
            EngineOrder::Transfer(transfers) => {
                let parts = transfers.chunks(TRANSACTION);
                parts.map(|part| Wish::Transfer(part.to_vec())).collect()
            }
            EngineOrder::Announce(member) => vec![Wish::Announce(member)],
            EngineOrder::Leave => vec![Wish::Leave],
        };
        self.wish(around, run, wishes);
    }

    pub(super) fn happen(&mut self, around: &mut Surroundings<'_>, event: StoreEvent) {
        match event {
            StoreEvent::Beat(run) => self.beat(around, run),
            StoreEvent::BeatArrived { run, sent } => self.beat_arrived(around, run, sent),
            StoreEvent::BeatAnswered { run, sent, found } => {
                self.beat_answered(around, run, sent, found);
            }
            StoreEvent::Registration { run, sent } => self.registration(around, run, sent),
            StoreEvent::Registered { run, sent } => self.vouched(around, run, sent),
            StoreEvent::Wished { run, number } => self.wished(around, run, number),
            StoreEvent::Granted {
                run,
                number,
                owners,
            } => self.granted(around, run, number, &owners),
            StoreEvent::Expiry(node) => self.expiry(around, node),
            StoreEvent::Doubt(run) => self.doubt(around, run),
            StoreEvent::Watch(run) => self.watch(around, run),
        }
    }

    /// A message between a client and the servers takes this long; none if it is lost.
    fn way(&self, around: &mut Surroundings<'_>, run: RunIndex) -> Option<Time> {
        if self.down || !around.network.reaches_servers(run) {
            return None;
        }
        let latency = around.network.latency().draw(around.random);
        Some(MILLISECOND / 2 + latency + self.slow)
    }

    /// The servers stop to answer, or are there again: their new leader renews all leases. If they
    /// were there all the while, nobody outlives its lease by that.
    pub(super) fn down(&mut self, around: &mut Surroundings<'_>, down: bool) {
        let was_down = std::mem::replace(&mut self.down, down);
        if down {
            return;
        }
        let now = around.agenda.now();
        let expires = now + self.ttl;
        for (node, registered) in self.members.iter_mut().filter(|_| was_down) {
            registered.expires = expires;
            around
                .agenda
                .at(expires, Event::Store(StoreEvent::Expiry(*node)));
        }
        for run in 0..self.sessions.len() {
            let pause = around.random.between(0, SECOND);
            around
                .agenda
                .after(pause, Event::Store(StoreEvent::Watch(run)));
        }
    }
}

use crate::cluster::world::Event;
