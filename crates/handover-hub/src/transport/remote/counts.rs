//! Counts of what the transport did, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a transport did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that arrived.
    pub frames: u64,
    /// Bytes of messages that arrived.
    pub bytes: u64,
    /// Frames and methods that this node does not know, from a newer node or a faulty one.
    pub unknown: u64,
    /// Bytes of engines that found no room.
    pub dropped: u64,
    /// Connections that were refused: no TLS, a wrong certificate, another hub, no greeting in time.
    pub rejected: u64,
    /// Connections that were closed to make room, before they greeted.
    pub evicted: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Connections from other nodes now.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    unknown: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    evicted: AtomicU64,
    sent: AtomicU64,
}

impl Counters {
    pub(super) fn frame(&self) {
        self.frames.fetch_add(1, Relaxed);
    }

    pub(super) fn arrived(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn unknown(&self, frames: u64) {
        self.unknown.fetch_add(frames, Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    pub(super) fn evicted(&self, connections: u64) {
        self.evicted.fetch_add(connections, Relaxed);
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn read(&self, connections: usize) -> Counts {
        Counts {
            frames: self.frames.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            sent: self.sent.load(Relaxed),
            connections: connections as u64,
        }
    }
}
