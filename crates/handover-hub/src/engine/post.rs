//! Letters between engines, carried by the hub's transport: one port, one mutual TLS for all.

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::transport::Posted;

/// Letters that may wait in each direction. Engines repeat what is lost, so more would only be
/// stale.
const LETTERS: usize = 1024;

/// Bytes for the engine of whoever is at an address. They may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The other node, as it is in [`Member::address`](handover_hub_proto::view::Member).
    pub address: String,
    /// What only the engines understand.
    pub bytes: Bytes,
}

/// The engine's end.
#[derive(Debug)]
pub struct Post {
    /// Letters to send. Full: the letter is to be dropped.
    pub outbox: mpsc::Sender<Letter>,
    /// What came: letters of other engines, and what happens to connections.
    pub inbox: mpsc::Receiver<Posted>,
}

/// The transport's end.
#[derive(Debug)]
pub struct Postman {
    /// What engines elsewhere sent, and what happens to connections. Full: it is to be dropped.
    pub inbox: mpsc::Sender<Posted>,
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
