//! The processes on a node, as far as the cluster can tell: each is a set of calls that it applied.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use super::agenda::Time;
use super::network::RunIndex;

/// The state of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Which start of the process it goes back to.
    pub incarnation: u64,
    /// The calls it applied.
    pub applied: BTreeSet<CallId>,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It answers.
    Open,
    /// It finishes a message, and takes no other.
    Freezing(MoveId),
    /// It waits for the end of its move.
    Frozen(MoveId),
}

/// One process on its host.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What it is.
    pub spec: Arc<ChildSpec>,
    /// Under which epoch it runs.
    pub epoch: Epoch,
    /// What for.
    pub role: Role,
    /// What it is doing.
    pub phase: Phase,
    /// It stands still until its home confirms it.
    pub suspended: bool,
    /// What it has.
    pub state: State,
    /// Calls that wait.
    pub queue: VecDeque<CallId>,
    /// The call it is at, until when, and which of its messages that is.
    pub busy: Option<(CallId, Time)>,
    /// Messages begun here.
    pub begun: u64,
    /// Where its passive replicas are.
    pub replicas: Vec<NodeId>,
}

impl Cell {
    /// Whether a call is known here already: it waits, or is being applied.
    #[must_use]
    pub fn waits(&self, call: CallId) -> bool {
        self.queue.contains(&call) || self.busy.is_some_and(|(busy, _)| busy == call)
    }
}

/// A process that will come here.
#[derive(Clone, Debug)]
pub struct Landing {
    /// With which move; none for a start.
    pub attempt: Option<MoveId>,
    /// Under which epoch.
    pub epoch: Epoch,
    /// What came, with the calls that waited.
    pub arrived: Option<(State, VecDeque<CallId>)>,
}

/// Processes of one run of a node.
#[derive(Debug, Default)]
pub struct Host {
    /// Those that run here.
    pub cells: BTreeMap<ProcessId, Cell>,
    /// Those that will, by their move.
    pub landings: BTreeMap<ProcessId, Vec<Landing>>,
    /// States kept for others.
    pub replicas: BTreeMap<ProcessId, State>,
    /// Where those went that ran here.
    pub went: BTreeMap<ProcessId, (NodeId, Epoch)>,
    /// States on their way, each with the run it goes to.
    pub sending: Vec<(ProcessId, MoveId, RunIndex)>,
    /// Whether it stands still.
    pub suspended: bool,
}

impl Host {
    /// The landing of a move.
    pub fn landing(
        &mut self,
        process: &ProcessId,
        attempt: Option<MoveId>,
    ) -> Option<&mut Landing> {
        let landings = self.landings.get_mut(process)?;
        landings
            .iter_mut()
            .find(|landing| landing.attempt == attempt)
    }

    /// Takes it out.
    pub fn land(&mut self, process: &ProcessId, attempt: Option<MoveId>) -> Option<Landing> {
        let landings = self.landings.get_mut(process)?;
        let at = landings
            .iter()
            .position(|landing| landing.attempt == attempt)?;
        let landing = landings.remove(at);
        if landings.is_empty() {
            self.landings.remove(process);
        }
        Some(landing)
    }
}

/// What hosts and callers tell each other.
#[derive(Clone, Debug)]
pub enum Frame<M> {
    /// What machines say.
    Control(M),
    /// A call.
    Call {
        /// Of which process.
        process: ProcessId,
        /// Which.
        call: CallId,
    },
    /// It was applied.
    Reply {
        /// By which process.
        process: ProcessId,
        /// Which.
        call: CallId,
        /// By which of its states.
        incarnation: u64,
    },
    /// The process is not here.
    NotHere {
        /// Which call.
        call: CallId,
        /// Where it went, if that is known.
        to: Option<NodeId>,
    },
    /// What arrived for a process after it was frozen, in order.
    Forward {
        /// For which.
        process: ProcessId,
        /// What.
        calls: Vec<CallId>,
    },
    /// A state with the calls that waited.
    State {
        /// Of which process.
        process: ProcessId,
        /// For which move.
        attempt: MoveId,
        /// The epoch it will have.
        epoch: Epoch,
        /// What.
        state: State,
        /// What waited.
        queue: VecDeque<CallId>,
    },
    /// It arrived, or nobody waits for it.
    StateTaken {
        /// Of which process.
        process: ProcessId,
        /// For which move.
        attempt: MoveId,
        /// Whether it was taken.
        taken: bool,
    },
    /// A copy of a state, and the call it must hold before that is answered.
    Replica {
        /// Of which process.
        process: ProcessId,
        /// What.
        state: State,
        /// Who waits for an answer.
        answer: Option<CallId>,
    },
    /// It is kept.
    ReplicaKept {
        /// Of which process.
        process: ProcessId,
        /// Who waits for an answer.
        answer: Option<CallId>,
    },
}
