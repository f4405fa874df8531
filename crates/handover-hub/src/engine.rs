//! Who is a member of a hub and who owns which shard: the engines that say so.
//!
//! | engine | owners | needs |
//! |---|---|---|
//! | [`memory`] | at most one, always | all hubs in one program |
//! | [`gossip`] | one in each part of a divided network | nothing |
//! | etcd | at most one, always | an etcd, and the feature `etcd` |
//!
//! A hub asks an engine for nothing beyond [`Guarantees`], [`EngineOrder`]s and [`EngineEvent`]s.

#[cfg(feature = "etcd")]
pub mod etcd;
pub mod gossip;
pub mod memory;
mod post;
mod seat;
mod validity;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::identity::{HubName, NodeId, NodeName};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::{EngineEvent, EngineOrder, Guarantees, Member};
use tokio::sync::mpsc;

pub use self::post::{Letter, Post, Postman};
pub use self::seat::SeatHolder;
pub(crate) use self::seat::{SeatOrder, SeatOrders};
pub use self::validity::{Boottime, Validity};

/// A future that can be kept in a struct and sent to another thread.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A hub, and what all its nodes have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// Its name.
    pub hub: HubName,
    /// How many shards it has. Never changes.
    pub shards: u16,
    /// What may change while no node runs. A node with other settings than the nodes that run is
    /// refused: by the engine, or when it greets them.
    pub agreement: Agreement,
}

/// Decides who is a member and who owns which shard.
pub trait Engine: Send + Sync + 'static {
    /// What it promises. The same at any time.
    fn guarantees(&self) -> Guarantees;

    /// Joins the hub as `me`.
    ///
    /// It has joined when the future is ready. Dropped before that, it leaves at once or, where the
    /// engine cannot be told, when its lease ends.
    ///
    /// # Errors
    ///
    /// [`EngineError`], one for each cause; this node is then no member.
    fn start(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        post: Post,
    ) -> BoxFuture<Result<Session, EngineError>>;

    /// Goes on in the seat of the program that this one succeeds on the same host: `me` is the same
    /// run of the node, `seat` what the predecessor's engine said of it. It says and does nothing
    /// that others can notice before the hub lets it go on; dropped before that, the seat stays as
    /// it was.
    ///
    /// An engine that cannot need not have it: it refuses.
    ///
    /// # Errors
    ///
    /// [`EngineError`], [`Seat`](EngineError::Seat) among them. The predecessor can go on.
    fn resume(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        post: Post,
        seat: Vec<u8>,
    ) -> BoxFuture<Result<Session, EngineError>> {
        drop((self, me, hub, post, seat));
        Box::pin(async {
            Err(EngineError::Seat {
                reason: "this engine cannot be handed to another program".to_owned(),
            })
        })
    }
}

/// One that is chosen while the program runs.
impl<E: Engine + ?Sized> Engine for Box<E> {
    fn guarantees(&self) -> Guarantees {
        (**self).guarantees()
    }

    fn start(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        post: Post,
    ) -> BoxFuture<Result<Session, EngineError>> {
        (*self).start(me, hub, post)
    }

    fn resume(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        post: Post,
        seat: Vec<u8>,
    ) -> BoxFuture<Result<Session, EngineError>> {
        (*self).resume(me, hub, post, seat)
    }
}

/// A node's seat in a hub. It leaves, as if it had died, when the session is dropped; to leave in
/// order, [`EngineOrder::Leave`] comes first.
#[derive(Debug)]
pub struct Session {
    /// What the engine says, in order: members and owners known at the start, then
    /// [`Ready`](EngineEvent::Ready), then what changes. Closed when the engine has ended, after
    /// [`Leave`](EngineOrder::Leave) only.
    pub events: mpsc::Receiver<EngineEvent>,
    /// What the engine is asked. An engine whose events nobody takes takes no orders: who waits to
    /// give one has to take events meanwhile.
    pub orders: mpsc::Sender<EngineOrder>,
    /// Whether this node may act.
    pub valid: Arc<Validity>,
    /// For a program that is replaced by its successor on the same host.
    pub seat: SeatHolder,
}

/// Why a node could not join.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A setting of the engine makes no sense.
    #[error("{setting} cannot be {found}; {expected}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A file that the settings name cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why.
        reason: String,
    },
    /// Nobody answered.
    #[error(
        "nobody answered at {endpoints} within {waited:?}: {reason}; this node is no member, is it running there?"
    )]
    Unreachable {
        /// Where it was looked for, separated by commas.
        endpoints: String,
        /// How long.
        waited: Duration,
        /// What the last attempt said.
        reason: String,
    },
    /// Who answered could not prove to be the right one, or did not accept this node's certificate.
    #[error(
        "no trusted connection to {endpoints}: {reason}; check the authority, the certificate and its names"
    )]
    Untrusted {
        /// Where, separated by commas.
        endpoints: String,
        /// What the library of TLS said.
        reason: String,
    },
    /// The user or the password is wrong, or none was given where one is wanted.
    #[error("{user} was not accepted: {reason}")]
    Credentials {
        /// Who, or `nobody`.
        user: String,
        /// What the engine said.
        reason: String,
    },
    /// The user may not read and write the hub's keys.
    #[error("{user} may not read and write keys below {prefix}: {reason}")]
    Forbidden {
        /// Who, or `nobody`.
        user: String,
        /// Which keys are needed.
        prefix: String,
        /// What the engine said.
        reason: String,
    },
    /// The engine takes no writes because its space is used up.
    #[error("the engine takes no writes: {reason}")]
    Full {
        /// What the engine said.
        reason: String,
    },
    /// A live member has this name.
    #[error("node {name} is a member already, at {address} as {node}; a name is used once")]
    NameTaken {
        /// The name.
        name: NodeName,
        /// Which member has it.
        node: NodeId,
        /// Where that is.
        address: String,
    },
    /// The hub exists with another number of shards.
    #[error("hub {hub} has {expected} shards, not {found}; all nodes need the same setting")]
    Shards {
        /// Which hub.
        hub: HubName,
        /// How many it has.
        expected: u16,
        /// How many this node is set to.
        found: u16,
    },
    /// The hub exists with another setting.
    #[error(
        "hub {hub} has {expected} as its {setting}, not {found}; all nodes need the same setting"
    )]
    Disagreement {
        /// Which hub.
        hub: HubName,
        /// Which setting.
        setting: String,
        /// What it is there.
        expected: String,
        /// What it is on this node.
        found: String,
    },
    /// The seat of a predecessor on this host cannot be taken over.
    #[error("the seat of this node's predecessor cannot be taken over: {reason}")]
    Seat {
        /// Why.
        reason: String,
    },
    /// The engine says what this version does not understand, or refuses for a cause of its own.
    #[error("unexpected answer of the engine: {reason}")]
    Unexpected {
        /// What it said.
        reason: String,
    },
}
