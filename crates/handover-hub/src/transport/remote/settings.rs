//! How long the transport waits, and for how many.

use std::time::Duration;

use super::greeting::Versions;
use crate::transport::Limits;

/// Settings of a transport over sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How much may wait.
    pub limits: Limits,
    /// How long it waits.
    pub timing: Timing,
    /// Versions of the protocol it speaks.
    pub versions: Versions,
}

/// How long the transport waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// For a connection to be made, encrypted and greeted.
    pub greeting: Duration,
    /// Without hearing anything, before a peer is asked whether it is there.
    pub ping: Duration,
    /// For the answer to that, before the connection counts as broken.
    pub silence: Duration,
    /// Before the second attempt to connect. Each further wait is twice as long.
    pub retry: Duration,
    /// The longest wait between attempts.
    pub retry_most: Duration,
    /// Without anything to send, before an address that is no member's is left alone.
    pub idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            // A loaded machine needs tenths of a second for a TLS handshake.
            greeting: Duration::from_secs(5),
            // A cut network is noticed after four seconds, and a quiet one carries a few bytes.
            ping: Duration::from_secs(2),
            silence: Duration::from_secs(2),
            // A process that was killed refuses at once; its successor is there soon after.
            retry: Duration::from_millis(20),
            // After a partition of any length nodes find each other again this soon.
            retry_most: Duration::from_secs(1),
            idle: Duration::from_secs(60),
        }
    }
}

/// Bytes of one stream that may be under way unread: what a gigabit carries in some milliseconds.
pub(super) const STREAM_WINDOW: u32 = 1 << 20;

/// The same of one connection: more than all its streams, so that one that is not read never takes
/// the room of another.
pub(super) const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;

/// Connections from and to other nodes: some for each node of a very large hub.
pub(super) const CONNECTIONS: usize = 4096;

/// Connections that have not greeted yet. When one more comes, the oldest is closed: a node greets
/// within milliseconds, who does not is no node.
pub(super) const GREETING: usize = 256;

/// Connections from one node. It needs one for each of its addresses that others use.
pub(super) const OF_ONE_NODE: usize = 8;

/// Streams of one connection: the greeting, four classes, and some to be refused.
pub(super) const STREAMS: u32 = 16;

/// Bytes of all headers of a request.
pub(super) const HEADERS: u32 = 8 << 10;
