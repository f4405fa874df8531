//! Who is a member and who owns which shard, as the engine says; what the engine is asked.
//!
//! Engines differ in one thing only, [`Guarantees`]: whether at most one node can own a shard while
//! the network is divided.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::identity::{NodeId, NodeName, ShardId, Term};

/// What an engine promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarantees {
    /// At most one node owns a shard at any time, in a divided network too. Without it each part of
    /// a divided network has owners of its own, and the higher term wins when it heals.
    pub exclusive: bool,
    /// How long a node may go on without hearing from the engine before it must stop by itself;
    /// absent where no node ever must.
    pub lease: Option<Duration>,
}

/// Whether a member takes processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It takes processes.
    Serving,
    /// It keeps what it has and takes nothing new.
    Evacuating,
    /// It goes as soon as it is empty.
    Leaving,
}

/// How busy a node says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Load {
    /// Share of its processors in use, in thousandths.
    pub processor: u16,
    /// Share of its memory in use, in thousandths.
    pub memory: u16,
    /// Messages waiting in all mailboxes.
    pub queued: u32,
    /// Processes it hosts.
    pub processes: u32,
}

impl Load {
    /// Whether the node says so at all: who runs uses memory.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.memory > 0
    }

    /// Whether it has changed so much that others should know.
    #[must_use]
    pub(crate) fn is_news(&self, before: &Self) -> bool {
        let share = |now: u16, before: u16| now.abs_diff(before) >= 20;
        let count = |now: u32, before: u32| {
            now.abs_diff(before) > before / 50 && (now.abs_diff(before) > 4 || before < 100)
        };
        share(self.processor, before.processor)
            || share(self.memory, before.memory)
            || count(self.queued, before.queued)
            || count(self.processes, before.processes)
            || self.is_known() != before.is_known()
    }
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// This run of the node.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Where its peers reach it, `host:port`.
    pub address: String,
    /// Its share of shards against that of others; 100 is usual.
    pub weight: u32,
    /// The version of its program, for people.
    pub version: String,
    /// Milliseconds since 1970 when it joined; for people, and for choosing the oldest as leader.
    pub joined_ms: u64,
    /// Whether it takes processes.
    pub standing: Standing,
    /// How busy it is.
    pub load: Load,
}

/// Who owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The home.
    pub node: NodeId,
    /// Under which term.
    pub term: Term,
}

/// Why a member is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// It said so.
    Left,
    /// The engine holds it for dead: its lease ended, or nobody hears it.
    Lost,
}

/// What an engine says. With an exclusive engine a node that is `Gone` has stopped writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEvent {
    /// All that was known at the start has been said.
    Ready,
    /// A member joined or changed; oneself too.
    Member(Member),
    /// A member is gone.
    Gone {
        /// Which.
        node: NodeId,
        /// Why.
        cause: Departure,
    },
    /// Shards have these owners now. Also the answer to every order, carried out or refused.
    Owners(Vec<(ShardId, Owner)>),
    /// The lease cannot be vouched for: whatever this node runs must stand still. Whoever drives a
    /// node looks at the lease before each input, and says this first if it is over: a node that
    /// was stopped and goes on must not act on what has waited for it meanwhile (H12).
    Fenced,
    /// The lease is held again. What others took meanwhile has been said by `Owners` before this.
    Unfenced,
}

/// A wish to own a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which.
    pub shard: ShardId,
    /// The term it must still have; absent if nobody ever owned it.
    pub over: Option<Term>,
}

/// A shard given away by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Which.
    pub shard: ShardId,
    /// The giver's term.
    pub term: Term,
    /// To whom.
    pub to: NodeId,
}

/// What an engine is asked. Every claim and transfer is answered by [`EngineEvent::Owners`] with
/// the owner it has then, whoever that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineOrder {
    /// Own these, each only if its term is what is said and its owner is gone or oneself.
    Claim(Vec<Claim>),
    /// Give these away, each only if one owns it under that term.
    Transfer(Vec<Transfer>),
    /// Tell all members what is new about oneself.
    Announce(Member),
    /// Leave the cluster. Nothing is owned and nothing runs here.
    Leave,
}
