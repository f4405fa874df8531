//! Engines: who is a member and who owns which shard.
//!
//! [`exclusive::Store`] does what etcd does, with one client on each node; [`gossip::Gossip`] is
//! what nodes tell each other, without any server.

pub mod exclusive;
pub mod gossip;

use handover_hub_proto::identity::NodeId;
use handover_hub_proto::view::{EngineEvent, EngineOrder, Guarantees, Member};

use self::exclusive::{Store, StoreEvent};
use self::gossip::{Gossip, GossipEvent};
use super::agenda::{Agenda, Time};
use super::network::{Network, RunIndex};
use super::random::Random;
use super::world::Event;

/// What an engine needs of its world.
pub struct Surroundings<'a> {
    /// What will happen.
    pub agenda: &'a mut Agenda<Event>,
    /// Chance.
    pub random: &'a mut Random,
    /// Who reaches whom.
    pub network: &'a Network,
    /// What nodes are told at once.
    pub tells: &'a mut Vec<(RunIndex, EngineEvent)>,
}

/// What engines did, for the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// Transactions or claims and transfers published.
    pub changes: u64,
    /// Shards that changed their owner.
    pub shards: u64,
    /// Signs of life.
    pub heartbeats: u64,
}

/// One of them.
#[derive(Debug)]
pub enum Engine {
    /// At most one owner, always.
    Exclusive(Store),
    /// One owner in the end.
    Gossip(Gossip),
}

impl Engine {
    /// What it promises.
    #[must_use]
    pub const fn guarantees(&self) -> Guarantees {
        match self {
            Self::Exclusive(store) => Guarantees {
                exclusive: true,
                lease: Some(store.lease()),
            },
            Self::Gossip(_) => Guarantees {
                exclusive: false,
                lease: None,
            },
        }
    }

    /// Until when a run may act.
    #[must_use]
    pub fn valid(&self, run: RunIndex) -> Time {
        match self {
            Self::Exclusive(store) => store.valid(run),
            Self::Gossip(_) => Time::MAX,
        }
    }

    /// Whether a run that could act may not any more.
    #[must_use]
    pub fn is_over(&self, run: RunIndex, now: Time) -> bool {
        match self {
            Self::Exclusive(store) => store.is_over(run, now),
            Self::Gossip(_) => false,
        }
    }

    /// A node joins; `seeds` are runs it was told of.
    pub fn join(&mut self, around: &mut Surroundings<'_>, me: Member, seeds: &[RunIndex]) {
        match self {
            Self::Exclusive(store) => store.join(around, me),
            Self::Gossip(gossip) => gossip.join(around, me, seeds),
        }
    }

    /// A node asks for something.
    pub fn order(&mut self, around: &mut Surroundings<'_>, run: RunIndex, order: EngineOrder) {
        match self {
            Self::Exclusive(store) => store.order(around, run, order),
            Self::Gossip(gossip) => gossip.order(around, run, order),
        }
    }

    /// The program of a node is gone.
    pub fn end(&mut self, around: &mut Surroundings<'_>, run: RunIndex) {
        match self {
            Self::Exclusive(store) => store.end(run),
            Self::Gossip(gossip) => gossip.end(around, run),
        }
    }

    /// Servers do not answer until told otherwise, or a node is suspected without cause.
    pub fn disturb(&mut self, around: &mut Surroundings<'_>, fault: Disturbance) {
        match (self, fault) {
            (Self::Exclusive(store), Disturbance::Down(down)) => store.down(around, down),
            (Self::Exclusive(store), Disturbance::Slow(slow)) => store.slow = slow,
            (Self::Gossip(gossip), Disturbance::Suspect { by, whom }) => {
                gossip.suspect(around, by, whom);
            }
            _ => {}
        }
    }

    /// Something of [`Self::Exclusive`] is due.
    pub fn store(&mut self, around: &mut Surroundings<'_>, event: StoreEvent) {
        if let Self::Exclusive(store) = self {
            store.happen(around, event);
        }
    }

    /// Something of [`Self::Gossip`] is due.
    pub fn gossip(&mut self, around: &mut Surroundings<'_>, event: GossipEvent) {
        if let Self::Gossip(gossip) = self {
            gossip.happen(around, event);
        }
    }

    /// What it did so far.
    #[must_use]
    pub const fn operations(&self) -> Operations {
        match self {
            Self::Exclusive(store) => store.operations,
            Self::Gossip(gossip) => gossip.operations,
        }
    }
}

/// What may befall an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    /// The servers are down, or up again.
    Down(bool),
    /// The servers take this long for everything.
    Slow(Time),
    /// A node holds another for dead that is not.
    Suspect {
        /// Who.
        by: RunIndex,
        /// Whom.
        whom: NodeId,
    },
}
