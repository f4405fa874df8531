//! Frames between the nodes of a hub.
//!
//! A [`Transport`] carries frames to nodes whose address it was told and delivers what arrives with
//! the node that sent it, as proved by the handshake. It keeps a connection to each node it knows
//! until it is told to [forget](Transport::forget) it, and says when one is up, broken, or refused.
//!
//! | where | what |
//! |---|---|
//! | [`frame`] | what crosses, and in which class |
//! | [`local`] | nodes of one program, without sockets, with switchable cuts and delays |
//! | [`remote`] | nodes that are reached over the network, with mutual TLS |
//! | [`carry`] | between it and the post of an engine |

mod carrier;
pub mod frame;
pub mod local;
mod queue;
pub mod remote;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use handover_hub_proto::identity::{HubName, NodeId, NodeName};
use handover_hub_proto::node::Agreement;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use self::carrier::carry;
pub use self::frame::{Class, Frame};
pub use self::tls::{Security, Tls, TlsError};

/// What reaches an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Bytes of the engine of another node.
    Bytes {
        /// Who sent them, as proved by the handshake.
        from: NodeId,
        /// Where that node is reached, as it says.
        address: String,
        /// What was sent.
        bytes: Bytes,
    },
    /// Something happened to a connection.
    Peer(PeerEvent),
}

/// Who a node says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// Its hub. Nodes of another one are refused.
    pub hub: HubName,
    /// How many shards its hub has. Nodes with another number are refused.
    pub shards: u16,
    /// This run of it.
    pub node: NodeId,
    /// Its name, unique in the hub.
    pub name: NodeName,
    /// Counts the programs that ran this node: a successor on the same host keeps the [`NodeId`]
    /// and adds one, so that peers leave its predecessor.
    pub instance: u64,
    /// Where peers reach it, `host:port`.
    pub address: String,
    /// What all nodes of its hub must have alike. Nodes with anything else are refused.
    pub agreement: Agreement,
}

impl Introduction {
    /// Why this node does not speak with one that introduces itself like that.
    #[must_use]
    pub fn rejects(&self, other: &Self) -> Option<Rejection> {
        if self.hub != other.hub {
            return Some(Rejection::Hub {
                expected: self.hub.to_string(),
                found: other.hub.to_string(),
            });
        }
        if self.shards != other.shards {
            return Some(Rejection::Shards {
                expected: self.shards,
                found: other.shards,
            });
        }
        if let Some((setting, expected, found)) = self.agreement.differs(&other.agreement) {
            return Some(Rejection::Setting {
                setting: setting.to_owned(),
                expected,
                found,
            });
        }
        if self.name == other.name && self.node != other.node {
            return Some(Rejection::NameTaken {
                name: self.name.to_string(),
                alive: self.node,
            });
        }
        None
    }
}

/// Why two nodes do not speak with each other. Both are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// It runs another hub.
    #[error("it belongs to hub {found:?}, this node to {expected:?}: check its address")]
    Hub {
        /// The hub of who rejects.
        expected: String,
        /// The hub of who is rejected.
        found: String,
    },
    /// It divides its processes differently.
    #[error(
        "it has {found} shards, this hub has {expected}: all nodes of a hub need the same number"
    )]
    Shards {
        /// The number of who rejects.
        expected: u16,
        /// The number of who is rejected.
        found: u16,
    },
    /// A node of that name is there and alive.
    #[error("node {alive} is alive under the name {name:?}: names of nodes are unique in a hub")]
    NameTaken {
        /// The name.
        name: String,
        /// Who has it.
        alive: NodeId,
    },
    /// No version of the protocol is known to both.
    #[error(
        "it speaks the versions {found_lowest} to {found_highest}, this node \
         {expected_lowest} to {expected_highest}: upgrade the older one"
    )]
    Version {
        /// The lowest of who rejects.
        expected_lowest: u16,
        /// The highest of who rejects.
        expected_highest: u16,
        /// The lowest of who is rejected.
        found_lowest: u16,
        /// The highest of who is rejected.
        found_highest: u16,
    },
    /// It does not prove to be who it says.
    #[error("it is not authorised: {reason}")]
    Unauthorised {
        /// What is wrong.
        reason: String,
    },
    /// It has been replaced by its successor on the same host.
    #[error("instance {alive} of this node has taken over")]
    Superseded {
        /// Who is there now.
        alive: u64,
    },
    /// It is this node itself.
    #[error("this node reached itself: its own address is among those of others")]
    Oneself,
    /// Too many connections.
    #[error("this node has no room for more connections")]
    Busy,
    /// What it said is not a greeting of this protocol.
    #[error("it does not speak the hub's protocol")]
    Garbled,
    /// It decides by other settings.
    #[error(
        "its {setting} is {found}, that of this hub {expected}: all nodes of a hub need the same"
    )]
    Setting {
        /// Which.
        setting: String,
        /// As who rejects has it.
        expected: String,
        /// As who is rejected has it.
        found: String,
    },
}

/// Why a frame was not taken. It has not been sent and will not be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue to that node is full. [`Transport::room`] says when it is not.
    #[error("the queue to node {0} is full")]
    Full(NodeId),
    /// Nothing connects to that node now.
    #[error("node {0} is not connected")]
    Unreachable(NodeId),
    /// It is longer than any receiver would accept.
    #[error("a frame of {found} bytes is over the limit of {limit}")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
        /// Its size, in bytes.
        found: usize,
    },
}

/// What happens to connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// Frames can be sent to that node from now on.
    Connected(Introduction),
    /// The connection to that node broke, or was never made; it is tried again. No proof of its
    /// death. Frames that were queued are dropped, those under way may have arrived.
    Disconnected(NodeId),
    /// The connections to and from that node broke, and its address refuses new ones: its kernel
    /// says that nobody listens there any more. The process is gone, or hung up for good.
    Refused {
        /// The node that was there.
        node: NodeId,
        /// The address.
        address: String,
    },
    /// Another node answers at the address of one that was known: that one is gone.
    Replaced {
        /// The one that was known.
        node: NodeId,
        /// The one that is there now.
        by: Introduction,
    },
    /// A node was rejected, by this one or by itself. It is tried again, for it can be put right.
    Rejected {
        /// The address dialled, or of who dialled.
        address: String,
        /// Whether this node rejected, or was rejected.
        by_us: bool,
        /// Why.
        rejection: Rejection,
    },
}

/// What arrives at a node, one receiver each so that one class does not hold up another. Who leaves
/// one unread stops the senders of that class and nothing else.
#[derive(Debug)]
pub struct Incoming {
    /// [`Class::Control`].
    pub control: mpsc::Receiver<(NodeId, Frame)>,
    /// [`Class::Calls`].
    pub calls: mpsc::Receiver<(NodeId, Frame)>,
    /// [`Class::States`].
    pub states: mpsc::Receiver<(NodeId, Frame)>,
    /// What happens to connections.
    pub events: mpsc::Receiver<PeerEvent>,
    /// [`Class::Engine`] and the same events, for the engine. What finds no room is dropped.
    pub engine: mpsc::Receiver<Posted>,
}

/// How much may wait, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one frame. Both sides keep to it.
    pub frame: usize,
    /// Bytes that wait for one node in one class before senders are told that it is full.
    pub queue: usize,
    /// Frames of one class, of all nodes together, that wait to be taken by this node.
    pub arrived: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A batch of rows or a chunk of a state fits many times, a state does not.
            frame: 4 << 20,
            // Some milliseconds of a fast network: more only makes latency.
            queue: 8 << 20,
            // Calls of some hundred bytes each: below the queues' limit for one node.
            arrived: 8192,
        }
    }
}

/// Carries frames between nodes. One for each hub of a program.
pub trait Transport: Send + Sync + 'static {
    /// Who this node is to others.
    fn me(&self) -> &Introduction;

    /// Queues a frame. Never waits. A frame to oneself arrives like any other.
    ///
    /// A frame that was taken arrives once, in order within its class, or the connection breaks,
    /// which is reported by [`PeerEvent::Disconnected`].
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued.
    fn send(&self, to: NodeId, frame: Frame) -> Result<(), SendError>;

    /// Waits until a queue that was full is half empty. Returns at once if it is not full, or if
    /// the node is not connected. May be cancelled at any time.
    fn room(&self, to: NodeId, class: Class) -> BoxFuture<'static, ()>;

    /// Connects to a node, now and whenever the connection breaks, until it is forgotten. Telling
    /// it again with the same address changes nothing.
    fn learn(&self, node: NodeId, address: &str);

    /// Leaves a node alone: what is queued for it is dropped, its connections are closed.
    fn forget(&self, node: NodeId);

    /// Sends bytes of an engine to an address, whoever is there. Best effort: dropped when there is
    /// no connection and none can be made, or when too much waits.
    fn post(&self, address: &str, bytes: Bytes);

    /// Sends what is queued, waiting at most `within`, closes all connections and makes none. Whoever
    /// connects waits in the queue of the socket: for [`resume`](Self::resume), or for a successor
    /// that has the same socket.
    ///
    /// By default nothing: nodes of one program are not replaced by another.
    fn rest(&self, within: Duration) -> BoxFuture<'static, ()> {
        let _ = within;
        Box::pin(std::future::ready(()))
    }

    /// Connects again to all that it was told of, and lets in who waits. What was connected is said
    /// to be [disconnected](PeerEvent::Disconnected) first.
    fn resume(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Sends what is queued, waiting at most `within`, and closes all connections.
    fn close(&self, within: Duration) -> BoxFuture<'static, ()>;
}
