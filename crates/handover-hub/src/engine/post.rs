//! Letters between engines, carried by the hub's transport: one port, one mutual TLS for all.

use bytes::Bytes;
use tokio::sync::mpsc;

/// Letters that may wait in each direction. Engines repeat what is lost, so more would only be
/// stale.
const LETTERS: usize = 1024;

/// What the transport brings to an engine, or takes from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Letter {
    /// Bytes for, or from, the engine of the node at this address. They may be lost.
    Bytes {
        /// The other node, as it is in [`Member::address`](handover_hub_proto::view::Member).
        address: String,
        /// What only the engines understand.
        bytes: Bytes,
    },
    /// To the engine only: connections to this address are refused and none is left open, so the
    /// kernel there says that nobody listens.
    Refused {
        /// Where.
        address: String,
    },
}

/// The engine's end.
#[derive(Debug)]
pub struct Post {
    /// Letters to send. Full: the letter is to be dropped.
    pub outbox: mpsc::Sender<Letter>,
    /// Letters that came.
    pub inbox: mpsc::Receiver<Letter>,
}

/// The transport's end.
#[derive(Debug)]
pub struct Postman {
    /// Letters that engines elsewhere sent. Full: the letter is to be dropped.
    pub inbox: mpsc::Sender<Letter>,
    /// Letters to carry.
    pub outbox: mpsc::Receiver<Letter>,
}

impl Post {
    /// Both ends.
    #[must_use]
    pub fn new() -> (Self, Postman) {
        let (outbox, carried) = mpsc::channel(LETTERS);
        let (brought, inbox) = mpsc::channel(LETTERS);
        let postman = Postman {
            inbox: brought,
            outbox: carried,
        };
        (Self { outbox, inbox }, postman)
    }
}
