//! The fourteen messages, as beyond-handoff 0.1.4 numbers them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::identity::HandoverId;

/// Which part a process plays when it greets (variants 0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It serves.
    Incumbent,
    /// It waits to take over.
    Successor,
}

/// An attempt's name: 16 bytes, in the form of a UUID.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct HandoffId(pub [u8; 16]);

impl HandoffId {
    /// Our attempt in their form: a UUID of version 8 (RFC 9562) that carries the whole number.
    #[must_use]
    pub const fn of(id: HandoverId) -> Self {
        let [a, b, c, d, e, f, g, h] = id.0.to_be_bytes();
        let version = 0x80;
        let variant = 0x80;
        let [w, x, y, z] = *b"hand";
        Self([w, x, y, z, a, b, version, 0, variant, 0, c, d, e, f, g, h])
    }

    /// Their attempt as ours are numbered: the latter half of the UUID, which is random in theirs.
    #[must_use]
    pub const fn number(self) -> HandoverId {
        let [.., c, d, e, f, g, h, i, j] = self.0;
        HandoverId(u64::from_be_bytes([c, d, e, f, g, h, i, j]))
    }
}

impl fmt::Debug for HandoffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for HandoffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// One message. The order of the variants is their number on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// 0: first frame of an incumbent or a successor on any channel.
    Hello {
        /// Its part.
        side: Side,
        /// Its process id; a successor's must be the one that was spawned.
        pid: u32,
        /// Names its build; any bytes.
        build_id: Vec<u8>,
        /// Oldest protocol version it speaks.
        oldest: u16,
        /// Newest protocol version it speaks.
        newest: u16,
        /// Reserved; zero.
        capabilities: u64,
    },
    /// 1: a supervisor's answer to it.
    HelloAck {
        /// The protocol version both will speak.
        version: u16,
        /// The attempt.
        id: HandoffId,
    },
    /// 2: to the incumbent: drain.
    PrepareHandoff {
        /// The attempt.
        id: HandoffId,
        /// The successor's process id.
        successor_pid: u32,
        /// What is left for the whole attempt, in milliseconds.
        deadline_ms: u64,
        /// The drain at most, in milliseconds.
        drain_grace_ms: u64,
    },
    /// 3: the incumbent has drained. Carries no id.
    Drained {
        /// Connections still open.
        open_conns_remaining: u32,
        /// Whether it has stopped accepting.
        accept_closed: bool,
    },
    /// 4: to the incumbent: seal.
    SealRequest {
        /// The attempt.
        id: HandoffId,
    },
    /// 5: progress of a seal.
    SealProgress {
        /// Shards done.
        sealed: u32,
        /// Shards in all.
        total: u32,
        /// The last revision written.
        last_revision: u64,
    },
    /// 6: the incumbent has sealed and released its lock.
    SealComplete {
        /// The attempt.
        id: HandoffId,
        /// The last revision of each shard.
        last_revision_per_shard: Vec<u64>,
        /// Of the data directory; what it is made of is the daemon's affair.
        data_dir_fingerprint: [u8; 32],
    },
    /// 7: the incumbent could not seal, holds its lock and resumes by itself.
    SealFailed {
        /// The attempt.
        id: HandoffId,
        /// Why.
        error: String,
        /// How far it came.
        partial_state: String,
    },
    /// 8: to the successor: take the lock and serve.
    Begin {
        /// The attempt.
        id: HandoffId,
    },
    /// 9: the successor serves.
    Ready {
        /// The attempt.
        id: HandoffId,
        /// Its listeners, for people.
        listening_on: Vec<String>,
        /// Whether it found itself healthy.
        healthz_ok: bool,
        /// The last revision of each shard it opened.
        advertised_revision_per_shard: Vec<u64>,
    },
    /// 10: to the incumbent: the successor serves; go.
    Commit {
        /// The attempt.
        id: HandoffId,
    },
    /// 11: to either: the attempt is over.
    Abort {
        /// The attempt.
        id: HandoffId,
        /// Why.
        reason: String,
    },
    /// 12: to the incumbent: take the lock back and serve.
    ResumeAfterAbort {
        /// The attempt.
        id: HandoffId,
    },
    /// 13: still alive.
    Heartbeat {
        /// The sender's clock, for people.
        ts_ms: u64,
    },
}

impl Message {
    /// The message's name, for violations.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::HelloAck { .. } => "HelloAck",
            Self::PrepareHandoff { .. } => "PrepareHandoff",
            Self::Drained { .. } => "Drained",
            Self::SealRequest { .. } => "SealRequest",
            Self::SealProgress { .. } => "SealProgress",
            Self::SealComplete { .. } => "SealComplete",
            Self::SealFailed { .. } => "SealFailed",
            Self::Begin { .. } => "Begin",
            Self::Ready { .. } => "Ready",
            Self::Commit { .. } => "Commit",
            Self::Abort { .. } => "Abort",
            Self::ResumeAfterAbort { .. } => "ResumeAfterAbort",
            Self::Heartbeat { .. } => "Heartbeat",
        }
    }

    /// A greeting of ours.
    #[must_use]
    pub fn hello(side: Side, pid: u32, build_id: &[u8]) -> Self {
        Self::Hello {
            side,
            pid,
            build_id: build_id.into(),
            oldest: super::VERSION,
            newest: super::VERSION,
            capabilities: 0,
        }
    }
}
