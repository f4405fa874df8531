//! What home, source and target tell each other.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, MoveId, NodeId, ProcessId, Term};
use crate::node::HostFailure;
use crate::spec::ChildSpec;

/// Why a state goes from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// The process moves.
    Move,
    /// Two copies ran apart: the target goes on, and merges what the source has.
    Merge {
        /// The epoch under which the target serves.
        serves: Epoch,
    },
}

/// What the home of a process tells one that takes part in its move.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Order {
    /// Which process.
    pub process: ProcessId,
    /// Which attempt.
    pub attempt: MoveId,
    /// The home's term. A node that has seen a higher one for this shard drops the order (H7).
    pub term: Term,
    /// What to do.
    pub bid: Bid,
}

/// What is to be done. Whoever is asked twice answers twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Bid {
    /// To the target: construct it, and wait for its state. Answered by [`Word::Prepared`].
    Prepare {
        /// What it is.
        spec: Arc<ChildSpec>,
        /// Who runs it.
        from: NodeId,
        /// The epoch it will have here at least.
        epoch: Epoch,
        /// What for.
        purpose: Purpose,
    },
    /// To the source: freeze it and send its state. Answered by [`Word::Departed`].
    Depart {
        /// The epoch it runs under there; under any other it stays.
        epoch: Epoch,
        /// To whom.
        to: NodeId,
        /// The epoch it will have there at least.
        next: Epoch,
        /// Its consent is not asked for.
        forced: bool,
    },
    /// To the target, when the source is gone or may be: say whether the whole state is there. If
    /// it is not, the attempt ends here. Answered by [`Word::Arrived`].
    Inquire,
    /// To the target: it is yours, serve. Answered by [`Word::Activated`].
    Commit {
        /// Under this epoch.
        epoch: Epoch,
        /// Who sends what arrived meanwhile after it; nobody if it is gone.
        latecomers: Option<NodeId>,
    },
    /// To the source: the target serves. Answered by [`Word::Retired`].
    Retire {
        /// Who serves.
        to: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// To the source: it stays yours, go on. Answered by [`Word::Resumed`].
    Resume {
        /// Under this epoch from now on.
        epoch: Epoch,
    },
    /// To the target: forget it. Answered by [`Word::Discarded`].
    Discard,
}

impl Bid {
    /// For traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Prepare { .. } => "prepare",
            Self::Depart { .. } => "depart",
            Self::Inquire => "inquire",
            Self::Commit { .. } => "commit",
            Self::Retire { .. } => "retire",
            Self::Resume { .. } => "resume",
            Self::Discard => "discard",
        }
    }

    /// Whether a process that moves stands still until it is heard, or others wait for its turn.
    pub(crate) const fn is_urgent(&self) -> bool {
        match self {
            Self::Depart { .. }
            | Self::Inquire
            | Self::Commit { .. }
            | Self::Retire { .. }
            | Self::Resume { .. } => true,
            Self::Prepare { .. } | Self::Discard => false,
        }
    }
}

/// What one that takes part in a move tells the home of the process, whoever that is by now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Report {
    /// Which process.
    pub process: ProcessId,
    /// Which attempt.
    pub attempt: MoveId,
    /// What happened.
    pub word: Word,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Word {
    /// The target waits for the state, or cannot take it.
    Prepared(Result<(), HostFailure>),
    /// The source is frozen under this epoch and has sent its state; or it could not. Whether it goes
    /// on is not said by this: the home must order it.
    Departed {
        /// The epoch it ran under.
        epoch: Epoch,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// The target has the whole state and took it, or will not have it.
    Arrived(Result<(), HostFailure>),
    /// The target serves, or failed to.
    Activated {
        /// Under which epoch.
        epoch: Epoch,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// The source has let go.
    Retired,
    /// The source serves under this epoch, or has nothing any more.
    Resumed {
        /// Under which epoch.
        epoch: Epoch,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// The target has nothing.
    Discarded,
}

impl Word {
    /// For traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Prepared(_) => "prepared",
            Self::Departed { .. } => "departed",
            Self::Arrived(_) => "arrived",
            Self::Activated { .. } => "activated",
            Self::Retired => "retired",
            Self::Resumed { .. } => "resumed",
            Self::Discarded => "discarded",
        }
    }

    /// Whether a process that moves stands still until it is heard.
    pub(crate) const fn is_urgent(&self) -> bool {
        match self {
            Self::Departed { .. } | Self::Arrived(_) | Self::Activated { .. } => true,
            Self::Prepared(_) | Self::Retired | Self::Resumed { .. } | Self::Discarded => false,
        }
    }
}
