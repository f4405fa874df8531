//! The processes on a node, as far as the cluster can tell: each is a set of calls that it applied.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId};
use handover_hub_proto::mailbox::{Letter, Mailbox, Refusal, Sealed};
use handover_hub_proto::node::HostOrder;
use handover_hub_proto::reply::{Remembered, Ticket};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use super::network::RunIndex;

/// The state of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Which start of the process it goes back to.
    pub incarnation: u64,
    /// The calls it applied.
    pub applied: BTreeSet<CallId>,
}

/// A call as it waits for a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called(pub Ticket);

impl Letter for Called {
    fn ticket(&self) -> Option<Ticket> {
        Some(self.0)
    }

    fn size(&self) -> usize {
        1
    }
}

/// What a process answers: nothing but that it did.
pub type Answer = [u8; 1];

/// One process on its host.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What it is.
    pub spec: Arc<ChildSpec>,
    /// Under which epoch it runs.
    pub epoch: Epoch,
    /// What for.
    pub role: Role,
    /// What waits for it.
    pub mailbox: Mailbox<Called, Answer>,
    /// The move it was frozen for, or will be.
    pub attempt: Option<MoveId>,
    /// What it has.
    pub state: State,
    /// The call it is at.
    pub busy: Option<CallId>,
    /// Messages begun here.
    pub begun: u64,
    /// Its passive replicas.
    pub replicas: Replicas,
}

/// The passive replicas of an active process.
#[derive(Clone, Debug, Default)]
pub struct Replicas {
    /// Its home has said which.
    pub told: bool,
    /// Each, and the last update it has.
    pub nodes: BTreeMap<NodeId, u64>,
    /// The last update.
    pub number: u64,
    /// Calls that are answered when all have an update.
    pub answers: Vec<(u64, CallId)>,
    /// It becomes a passive one when all have the last update.
    pub steps_down: Option<Epoch>,
}

/// What a passive replica was sent.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Under which epoch the active one sent it.
    pub epoch: Epoch,
    /// Which update it was.
    pub number: u64,
    /// What.
    pub state: State,
    /// What was answered.
    pub replies: Vec<Remembered<Answer>>,
}

/// A process that will come here.
#[derive(Clone, Debug)]
pub struct Landing {
    /// With which move; none for a start.
    pub attempt: Option<MoveId>,
    /// What waits for it.
    pub mailbox: Mailbox<Called, Answer>,
    /// What came.
    pub arrived: Option<(State, Sealed<Called, Answer>)>,
}

/// Processes of one run of a node.
#[derive(Debug, Default)]
pub struct Host {
    /// Those that run here.
    pub cells: BTreeMap<ProcessId, Cell>,
    /// Those that will, by their move.
    pub landings: BTreeMap<ProcessId, Vec<Landing>>,
    /// Moves that were given up: what arrives for them is dropped.
    pub discarded: BTreeSet<MoveId>,
    /// Orders that wait for one that takes time, by process; whether all stood still since.
    pub pending: BTreeMap<ProcessId, VecDeque<(HostOrder, bool)>>,
    /// States kept for others.
    pub replicas: BTreeMap<ProcessId, Kept>,
    /// Where those went that ran here.
    pub went: BTreeMap<ProcessId, (NodeId, Epoch)>,
    /// What those had applied that ended here since somebody asked for it.
    pub ended: BTreeMap<ProcessId, BTreeSet<CallId>>,
    /// States on their way, each with the run it goes to.
    pub sending: Vec<(ProcessId, MoveId, RunIndex)>,
}

impl Host {
    /// A passive replica becomes the active one: from what it was sent, or what it is.
    pub fn take_over(&mut self, process: &ProcessId) -> (State, Mailbox<Called, Answer>) {
        let cell = self.cells.get(process);
        let own = cell.map(|cell| (cell.state.clone(), cell.mailbox.remembered()));
        let kept = self.replicas.remove(process);
        let kept = kept.map(|kept| (kept.state, kept.replies)).or(own);
        let (state, replies) = kept.unwrap_or_default();
        let mut mailbox = Mailbox::restoring();
        let queue = Vec::new();
        mailbox.restore(Sealed { queue, replies });
        (state, mailbox)
    }

    /// What a process here has, or would begin with as the active one.
    pub fn state(&self, process: &ProcessId) -> Option<&State> {
        let cell = self.cells.get(process)?;
        let kept = self.replicas.get(process);
        let kept = kept.filter(|_| cell.role == Role::Passive);
        Some(kept.map_or(&cell.state, |kept| &kept.state))
    }

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
        ticket: Ticket,
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
    /// It was not taken.
    Refused {
        /// Which call.
        call: CallId,
        /// Why.
        why: Refusal,
    },
    /// The process is elsewhere.
    Redirect {
        /// Which call.
        call: CallId,
        /// Where it went.
        to: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// All that arrived for a process after it was frozen, in order.
    Forward {
        /// For which.
        process: ProcessId,
        /// After which move.
        attempt: Option<MoveId>,
        /// What.
        letters: Vec<Called>,
    },
    /// A state with what waited.
    State {
        /// Of which process.
        process: ProcessId,
        /// For which move.
        attempt: MoveId,
        /// What.
        state: State,
        /// What waited.
        sealed: Sealed<Called, Answer>,
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
    /// What a passive replica is to have.
    Replica {
        /// Of which process.
        process: ProcessId,
        /// What.
        kept: Kept,
    },
    /// It has that.
    ReplicaKept {
        /// Of which process.
        process: ProcessId,
        /// Which update.
        number: u64,
    },
}
