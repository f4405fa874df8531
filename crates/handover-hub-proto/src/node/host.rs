//! What the machine orders of the processes on its node, and what they report.
//!
//! Every order names the epoch it is for; a report of another epoch is late and changes nothing.

use alloc::string::String;
use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, MoveId, NodeId, ProcessId};
use crate::row::Role;
use crate::spec::ChildSpec;

/// What a process starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Its argument, or a checkpoint if its kind keeps any.
    Fresh,
    /// The state and the queue that arrived with this move.
    Handed(MoveId),
    /// The state this node kept as a passive replica.
    Replica,
}

/// What is to be done to a process on this node. What was done already is reported as done again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostOrder {
    /// Construct it, without letting it answer anything.
    Warm {
        /// What it is.
        spec: Arc<ChildSpec>,
        /// Under which epoch it will run.
        epoch: Epoch,
        /// The move it is warmed for; none for a start.
        attempt: Option<MoveId>,
    },
    /// Let it answer. Warms it first if that was not done.
    Activate {
        /// What it is.
        spec: Arc<ChildSpec>,
        /// Under which epoch.
        epoch: Epoch,
        /// From what.
        origin: Origin,
        /// As what.
        role: Role,
        /// Who sends what arrived there during its move after it: what arrives here directly is
        /// held until that is said to be all, or that node is gone, or
        /// [a short time](crate::mailbox::OPENING_MAX) is over. Nobody for a start.
        latecomers: Option<NodeId>,
    },
    /// Ask for its consent, finish the message it is at, take no other, and snapshot.
    Freeze {
        /// Which.
        process: ProcessId,
        /// The epoch it runs under.
        epoch: Epoch,
        /// For which move.
        attempt: MoveId,
        /// Do not ask for consent: its time to defer is over.
        forced: bool,
    },
    /// Send the snapshot and the queue of a frozen process to the target of a move.
    SendState {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// To whom.
        to: NodeId,
        /// The epoch it will have there.
        epoch: Epoch,
    },
    /// Let a frozen process go on, or one that is still freezing or was not yet asked to: it has
    /// another epoch from now on. Cannot fail.
    Resume {
        /// Which.
        process: ProcessId,
        /// The move that failed.
        attempt: MoveId,
        /// The epoch it runs under from now on.
        epoch: Epoch,
    },
    /// Its move is committed: send what arrived meanwhile after it, then drop it and tell whoever
    /// still asks here where it is.
    Retire {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// Where it runs now.
        to: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// Drop what was warmed or received for a move that failed, and what arrives for it later.
    Discard {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
    },
    /// Stop it for good.
    Stop {
        /// Which.
        process: ProcessId,
        /// The epoch it runs under.
        epoch: Epoch,
    },
    /// Change what it is for.
    Role {
        /// Which.
        process: ProcessId,
        /// The epoch it runs under from now on.
        epoch: Epoch,
        /// As what.
        role: Role,
    },
    /// Where the passive replicas are that this active process keeps up to date; none if empty.
    /// Before it knows that it answers nothing, if replicas are kept up to date at all.
    Replicate {
        /// Which.
        process: ProcessId,
        /// The epoch it runs under.
        epoch: Epoch,
        /// To whom.
        to: alloc::vec::Vec<NodeId>,
    },
    /// Let everything on this node stand still: no message is taken, no reply leaves.
    Suspend,
    /// Let one process go on after [`HostOrder::Suspend`], its home has confirmed it.
    Continue {
        /// Which.
        process: ProcessId,
        /// The epoch it runs under from now on.
        epoch: Epoch,
    },
    /// Two copies ran apart, and this one was kept: hand it the state of the other, which arrived
    /// with the move, to merge.
    Merge {
        /// Which.
        process: ProcessId,
        /// The move that brought the other copy's state.
        attempt: MoveId,
        /// The epoch it runs under from now on.
        epoch: Epoch,
    },
}

/// Why a process did not do what it was ordered to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum HostFailure {
    /// This node has no such kind.
    #[error("it has no such kind")]
    UnknownKind,
    /// It said so, or panicked.
    #[error("the process refused: {0}")]
    Refused(String),
    /// Its state is larger than the hub's limit.
    #[error("its state has {found} bytes, at most {limit} may move: raise the limit of its hub")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// Its size, in bytes.
        found: u64,
    },
    /// It asks to be moved later.
    #[error("it asks to be moved later")]
    Deferred,
    /// It did not finish the message it was at in time, or takes part in another move.
    #[error("it is busy")]
    Busy,
    /// The connection broke, or the digest was wrong.
    #[error("its state did not arrive: {0}")]
    Transfer(String),
    /// No such process is here under that epoch.
    #[error("it is not there")]
    NotHere,
}

impl HostOrder {
    /// What is reported of this order when it is over; nothing of those that are not answered. Of a stop
    /// nothing else is said than that it ended.
    #[must_use]
    pub fn answered(self, result: Result<(), HostFailure>) -> Option<HostReport> {
        Some(match self {
            Self::Warm { spec, epoch, .. } => HostReport::Warmed {
                process: spec.id.clone(),
                epoch,
                result,
            },
            Self::Activate { spec, epoch, .. } => HostReport::Activated {
                process: spec.id.clone(),
                epoch,
                result,
            },
            Self::Freeze {
                process, attempt, ..
            } => HostReport::Frozen {
                process,
                attempt,
                result,
            },
            Self::SendState {
                process, attempt, ..
            } => HostReport::StateSent {
                process,
                attempt,
                result,
            },
            Self::Stop { process, epoch } => HostReport::Ended {
                process,
                epoch,
                crash: None,
            },
            Self::Role { process, epoch, .. } => HostReport::Activated {
                process,
                epoch,
                result,
            },
            Self::Merge {
                process, attempt, ..
            } => HostReport::Merged {
                process,
                attempt,
                result,
            },
            Self::Resume { .. }
            | Self::Retire { .. }
            | Self::Discard { .. }
            | Self::Replicate { .. }
            | Self::Suspend
            | Self::Continue { .. } => return None,
        })
    }
}

/// What the processes of this node report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostReport {
    /// Of [`HostOrder::Warm`].
    Warmed {
        /// Which.
        process: ProcessId,
        /// Under which epoch.
        epoch: Epoch,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// Of [`HostOrder::Activate`].
    Activated {
        /// Which.
        process: ProcessId,
        /// Under which epoch.
        epoch: Epoch,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// Of [`HostOrder::Freeze`]. On failure it goes on as before.
    Frozen {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// Of [`HostOrder::SendState`]. On failure it is still frozen, and the state may have arrived.
    StateSent {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// A state for a move arrived whole, its digest is right, and what was warmed took it (of a
    /// merge: it is kept beside). On failure nothing of it is kept.
    StateArrived {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// How it went.
        result: Result<(), HostFailure>,
    },
    /// Of [`HostOrder::Stop`]; also when it ends by itself and is not started again.
    Ended {
        /// Which.
        process: ProcessId,
        /// Under which epoch.
        epoch: Epoch,
        /// What it said if it crashed too often.
        crash: Option<String>,
    },
    /// It crashed and was started again here; its state is what its kind starts with.
    Restarted {
        /// Which.
        process: ProcessId,
        /// Under which epoch.
        epoch: Epoch,
        /// What it said.
        reason: String,
    },
    /// A passive replica has the state of the active one, the first time since it was started or
    /// became passive. The active one answers nothing from then on that this one does not have.
    Filled {
        /// Which.
        process: ProcessId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// Of [`HostOrder::Merge`].
    Merged {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// How it went.
        result: Result<(), HostFailure>,
    },
}
