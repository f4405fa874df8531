//! What hooks, screens, logs and metrics are told. One type for all of them.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::hook::Hook;
use crate::identity::{Epoch, MoveId, NodeId, ProcessId, ShardId, Term};
use crate::view::Departure;

/// What happened on a node, or that it learnt of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A member joined.
    Joined {
        /// Which.
        node: NodeId,
    },
    /// A member is gone.
    Gone {
        /// Which.
        node: NodeId,
        /// Why.
        cause: Departure,
    },
    /// A shard has a new home.
    Owned {
        /// Which.
        shard: ShardId,
        /// Its home.
        node: NodeId,
        /// Its term.
        term: Term,
    },
    /// A row was added or a host of it changed.
    Registered {
        /// Which child.
        process: ProcessId,
        /// On which node.
        node: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// A row was removed.
    Unregistered {
        /// Which child.
        process: ProcessId,
    },
    /// A process begins to move.
    Moving {
        /// Which move.
        attempt: MoveId,
        /// Which child.
        process: ProcessId,
        /// From where.
        from: NodeId,
        /// To where.
        to: NodeId,
    },
    /// A process moved.
    Moved {
        /// Which move.
        attempt: MoveId,
        /// Which child.
        process: ProcessId,
        /// Where it runs now.
        to: NodeId,
        /// How long it answered nothing, in nanoseconds, as its new host measured.
        pause_ns: u64,
    },
    /// A move did not happen; the process serves where it was.
    MoveFailed {
        /// Which move.
        attempt: MoveId,
        /// Which child.
        process: ProcessId,
        /// Where it serves.
        serves: NodeId,
        /// Why.
        reason: String,
    },
    /// A process asked to move later.
    Deferred {
        /// Which child.
        process: ProcessId,
    },
    /// A process crashed on its host.
    Crashed {
        /// Which child.
        process: ProcessId,
        /// What it said.
        reason: String,
        /// Whether it is started again.
        restarted: bool,
    },
    /// No replica that is left has all that a process had acknowledged: it begins from its
    /// checkpoint, or from its argument.
    Lost {
        /// Which child.
        process: ProcessId,
        /// On which node.
        node: NodeId,
    },
    /// The node stands still: its lease is in doubt, or its partition rule says so.
    Suspended {
        /// Why.
        reason: String,
    },
    /// The node goes on.
    Continued,
    /// A redistribution of shards begins.
    Redistributing,
    /// No move is left to do that this node orders as a home; those that deferred or failed, and are
    /// tried again later, are not waited for.
    Settled,
    /// The start of a child that was asked here was passed on to another home: the one that was asked
    /// before it is none any more, or is gone.
    Forwarded {
        /// Which child.
        process: ProcessId,
        /// The node that is asked now.
        to: NodeId,
    },
    /// Nothing is left to move away from this node, which was evacuated or leaves, or its time is
    /// over.
    Emptied {
        /// Processes that moved away.
        moved: u64,
        /// Processes that are still here: pinned, or nobody took them in time.
        left: u64,
    },
    /// The checkpoint of a process on this node was not written, or not read.
    CheckpointFailed {
        /// Which child.
        process: ProcessId,
        /// What was wrong, and what follows.
        reason: String,
    },
    /// A handler of a hook panicked, has not returned in time, or could not be called; or a process
    /// panicked when it was told its role. Nothing else changed.
    HookFailed {
        /// Which hook.
        hook: Hook,
        /// The id of the handler, if it was one of them; or `role of` the process.
        handler: Option<String>,
        /// What it said, or what was wrong.
        reason: String,
    },
    /// There is a new board of the load balancer.
    Scored {
        /// How busy each member is: 0 idle, 1000 as busy as can be.
        scores: Vec<(NodeId, u16)>,
        /// Processes that are to move from busy members to idle ones.
        shifted: u32,
    },
}
