//! What a node is asked by those on it, and what it answers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ordered;
use crate::identity::{Epoch, NodeId, NodeName, ProcessId};
use crate::placement::guided::GuideError;
use crate::row::Host;
use crate::spec::{ChildSpec, Placing};

/// What happens to those that started when one of the same request does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// They stay.
    #[default]
    Continue,
    /// They are stopped again.
    Rollback,
}

/// How children are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOptions {
    /// A child that already runs is an error of that child. Off: it counts as started.
    pub check_existing: bool,
    /// What a failure does to the others.
    pub on_failure: OnFailure,
    /// After this time what has not answered has failed.
    pub timeout: Duration,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            check_existing: true,
            on_failure: OnFailure::Continue,
            timeout: Duration::from_secs(10),
        }
    }
}

/// How a node is emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evacuation {
    /// Which node.
    pub node: NodeName,
    /// Where its processes go; to all others if empty.
    pub to: Vec<NodeName>,
    /// Moves a second at most; absent: as the hub's settings say.
    pub rate: Option<u32>,
    /// After this time nobody waits for its end any more: the answer is
    /// [`Failure::StillEmptying`], and the evacuation goes on.
    pub timeout: Duration,
}

impl Evacuation {
    /// How long an evacuation is waited for that names no time: 24 h.
    pub const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

    /// To all others, as fast as the hub's settings say, waited for for [`TIMEOUT`](Self::TIMEOUT).
    #[must_use]
    pub const fn of(node: NodeName) -> Self {
        Self {
            node,
            to: Vec::new(),
            rate: None,
            timeout: Self::TIMEOUT,
        }
    }
}

/// What a node can be asked. Any node takes any command and passes it on to whom it concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Start children.
    Start {
        /// Which.
        children: Vec<Arc<ChildSpec>>,
        /// How.
        options: StartOptions,
    },
    /// Stop children wherever they run.
    Stop {
        /// Which.
        processes: Vec<ProcessId>,
        /// After this time what has not answered has failed.
        timeout: Duration,
    },
    /// Move one child.
    Move {
        /// Which.
        process: ProcessId,
        /// To where. It stays there until the members change, unless it is pinned.
        to: NodeName,
    },
    /// Pin a child to nodes, or leave it to the strategy again.
    Pin {
        /// Which.
        process: ProcessId,
        /// Where.
        placing: Placing,
    },
    /// Move everything away from a node, which stays a member and takes nothing new.
    Evacuate(Evacuation),
    /// Let an evacuated node take processes again; moves that have begun end.
    AbortEvacuation {
        /// Which node.
        node: NodeName,
    },
    /// Move everything away from this node, then leave the cluster.
    Leave {
        /// After this time what is still here is left behind.
        timeout: Duration,
    },
    /// Replace the list of declared children: orphans start, undeclared ones stop.
    Declare {
        /// The whole list.
        children: Vec<Arc<ChildSpec>>,
    },
    /// Forget the largest size the cluster ever had, for the majority rule.
    ResetClusterSize {
        /// The new size.
        size: u32,
    },
    /// A process that deferred its move is ready to go.
    ReadyToMove {
        /// Which.
        process: ProcessId,
    },
    /// Ask the home of a process who runs it: this node's copy of the rows may not be whole yet.
    Locate {
        /// Which.
        process: ProcessId,
        /// After this time it has failed.
        timeout: Duration,
    },
    /// Say which moves are under way. Answered also by a node that stands still.
    Moves {
        /// Those that all members order, each the ones of its shards: the others are asked, at most
        /// twice a second, and waited for up to a second. Only those of this node if false.
        others: bool,
    },
}

/// Why something was not done to one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// It already runs.
    #[error("{0} already runs")]
    AlreadyStarted(ProcessId),
    /// Nobody runs it.
    #[error("no process is called {0}")]
    Unknown(ProcessId),
    /// Its host cannot run its kind.
    #[error(
        "node {node} has no kind {kind}: register it there, or pin the child to nodes that have it"
    )]
    UnknownKind {
        /// The host.
        node: NodeId,
        /// The kind.
        kind: String,
    },
    /// Its start failed by its own word.
    #[error("it did not start on node {node}: {reason}")]
    Refused {
        /// The host.
        node: NodeId,
        /// What it said.
        reason: String,
    },
    /// No such node is a member.
    #[error("no member is called {0}")]
    UnknownNode(NodeName),
    /// The nodes it is pinned to do not fit the replicas wanted.
    #[error("pinned to {found} nodes, but each child has {expected} replicas")]
    Replicas {
        /// Replicas of a child.
        expected: u32,
        /// Nodes named.
        found: u32,
    },
    /// No node may take it.
    #[error("no node takes processes now")]
    Nowhere,
    /// It was not answered in time. It may have happened.
    #[error("no answer in time; what it did is not known: look it up before trying again")]
    TimedOut,
    /// Its home or host went away before it answered. It may have happened.
    #[error(
        "the node that was asked is gone; what it did is not known: look it up before trying again"
    )]
    Gone,
    /// It stays where it was.
    #[error("it did not move and serves on node {serves}: {reason}")]
    NotMoved {
        /// Who serves.
        serves: NodeId,
        /// Why.
        reason: String,
    },
    /// Another move of it goes on.
    #[error("it is being moved already; wait for that, then ask again")]
    Moving,
    /// This node stands still.
    #[error("this node stands still: {reason}")]
    Suspended {
        /// Why.
        reason: String,
    },
    /// It started, and was stopped again since another one did not.
    #[error("stopped again, since another child of the request did not start")]
    RolledBack,
    /// The hub is guided, and nobody said where it runs.
    #[error("the hub is guided: say on which nodes it runs")]
    Unguided,
    /// It is to run on no node, or on one of them twice.
    #[error("its nodes are none, or one of them twice: name each once, one for each replica")]
    Nodes,
    /// The time of an evacuation is over, and it goes on.
    #[error(
        "time is over, and node {node} still runs {left} processes; they serve there, and its \
         evacuation goes on: wait until it has none, or abort it"
    )]
    StillEmptying {
        /// The node that is emptied.
        node: NodeName,
        /// Processes it still runs, by the registry of the node that was asked.
        left: u64,
    },
    /// More children than can be declared.
    #[error("at most {limit} children can be declared, these are {found}")]
    TooMany {
        /// How many can be.
        limit: usize,
        /// How many were.
        found: usize,
    },
    /// It was still there when nobody waited any more for its node to be empty.
    #[error("{0}")]
    Stays(Staying),
}

/// Why a child was not moved away from a node that was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Staying {
    /// It may run nowhere else.
    #[error("it is pinned there")]
    Pinned,
    /// There is nobody to take it.
    #[error("no other node takes processes")]
    Alone,
    /// The evacuation was ended.
    #[error("the evacuation was aborted before it had moved")]
    Aborted,
    /// The node was told to leave meanwhile, which moves it too.
    #[error("it had not moved when the node began to leave, and moves now")]
    Leaving,
    /// The time for it was over.
    #[error("it had not moved when the node's time to leave was over")]
    OutOfTime,
}

impl From<GuideError> for Failure {
    fn from(error: GuideError) -> Self {
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        match error {
            GuideError::Missing { .. } => Self::Unguided,
            GuideError::Invalid { .. } => Self::Nodes,
            GuideError::Absent { node, .. } => Self::UnknownNode(node),
            GuideError::Mismatch { process } => Self::Unknown(process),
            GuideError::Replication {
                expected, found, ..
            } => Self::Replicas {
                expected: number(expected),
                found: number(found),
            },
        }
    }
}

/// A child that started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which.
    pub process: ProcessId,
    /// On which node, one line for each replica.
    pub node: NodeId,
    /// Under which epoch.
    pub epoch: Epoch,
}

/// A child that stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Which.
    pub process: ProcessId,
    /// Where it ran.
    pub nodes: Vec<NodeId>,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Of a start.
    Started {
        /// Those that run.
        started: Vec<Started>,
        /// Those that do not.
        failed: Vec<(ProcessId, Failure)>,
        /// Whether those that had started were stopped again.
        rolled_back: bool,
    },
    /// Of a stop.
    Stopped {
        /// Those that ran.
        stopped: Vec<Stopped>,
        /// Those that did not, or did not answer.
        failed: Vec<(ProcessId, Failure)>,
    },
    /// Of a move.
    Moved {
        /// Which.
        process: ProcessId,
        /// Where it runs now.
        node: NodeId,
        /// How long it answered nothing, in nanoseconds.
        pause_ns: u64,
    },
    /// Of an evacuation or of leaving.
    Evacuated {
        /// Processes that moved.
        moved: u64,
        /// Processes left behind, with the reason.
        left: Vec<(ProcessId, Failure)>,
    },
    /// It was done, and there is nothing to say.
    Done,
    /// It was not done.
    Failed(Failure),
    /// Who runs it, by the word of its home.
    Located(Vec<Host>),
    /// The moves of each member, this node first; absent where it has not said so in the last three
    /// seconds.
    Moves(Vec<(NodeId, Option<Ordered>)>),
}
