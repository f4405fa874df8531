//! One process on this node: its mailbox, itself, and one task at most that runs it.

mod arrival;
mod departure;
mod estate;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod kept;
mod landing;
mod letter;
mod life;
mod occasions;
mod pack;
mod reminder;
mod replicas;
mod roles;
mod run;
mod store;
mod succession;
mod will;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, MoveId, ProcessId};
use handover_hub_proto::intensity::Restarts;
use handover_hub_proto::mailbox::Mailbox;
use handover_hub_proto::node::HostOrder;
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub(crate) use self::arrival::Verdict;
pub(crate) use self::estate::Estate;
pub(crate) use self::letter::Letter;

use self::letter::Octets;
use crate::hub::Shared;
use crate::kind::Body;
use crate::process::{Context, Handed};
use crate::states::Assembly;

/// A process. While nothing is to be done it costs memory only: whatever comes for an idle cell
/// spawns a [run](run::run) of it.
pub(crate) struct Cell {
    id: ProcessId,
    state: Mutex<State>,
}

struct State {
    spec: Arc<ChildSpec>,
    epoch: Epoch,
    role: Role,
    phase: Phase,
    /// A run has been spawned and has not found everything done.
    running: bool,
    /// What is to be done before the next message, in order.
    work: VecDeque<Work>,
    mailbox: Mailbox<Letter, Octets>,
    /// None while a run has it, and where there is none.
    body: Option<Box<dyn Body>>,
    rare: Option<Box<Rare>>,
}

/// How far a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is here.
    Vacant,
    /// Constructed, and answers nothing.
    Warm,
    /// Its state has arrived with this move; it waits for its home to decide.
    Landed(MoveId),
    /// It answers.
    Serving,
    /// It stands still for this move.
    Frozen(MoveId),
    /// It is elsewhere.
    Retired,
    /// It ended.
    Ended,
}

/// What is to be done to a process.
pub(crate) enum Work {
    /// As the machine orders.
    Order(HostOrder),
    /// A state has arrived whole.
    Land { attempt: MoveId, state: Bytes },
    /// Send its passive replicas what it is now.
    Synchronise,
    /// Write a checkpoint.
    Checkpoint,
    /// Its node goes on, in this program or its successor.
    GoOn,
}

/// What few processes need at any moment.
#[derive(Default)]
struct Rare {
    /// Messages to itself, by number and when they are due.
    later: Vec<(u64, Instant, Bytes)>,
    /// What it was when it was frozen.
    snapshot: Option<Handed>,
    /// A freeze that waits for the latecomers of the last move.
    freeze: Option<HostOrder>,
    /// Sends it to its new host.
    sending: Option<AbortHandle>,
    /// A state that is arriving, and for which move.
    arriving: Option<(MoveId, Assembly)>,
    /// A state that has arrived while this process served: to be merged.
    other: Option<(MoveId, Bytes)>,
    /// What this passive replica was last sent.
    kept: Option<kept::Kept>,
    /// Those that this active one keeps up to date.
    replicas: Option<Arc<replicas::Replicas>>,
    restarts: Restarts,
    /// A checkpoint will be written.
    checkpoint_due: bool,
}

impl Cell {
    /// A place for a process.
    pub(crate) fn new(spec: Arc<ChildSpec>, epoch: Epoch) -> Arc<Self> {
        Arc::new(Self {
            id: spec.id.clone(),
            state: Mutex::new(State {
                spec,
                epoch,
                role: Role::default(),
                phase: Phase::Vacant,
                running: false,
                work: VecDeque::new(),
                mailbox: Mailbox::restoring(),
                body: None,
                rare: None,
            }),
        })
    }

    pub(crate) fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Messages that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().mailbox.waiting()
    }

    /// Whether nothing is here nor will be.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// Has something done, after what was ordered before and the message it is at.
    pub(crate) fn enqueue(self: &Arc<Self>, shared: &Arc<Shared>, work: Work) {
        let mut state = self.lock();
        state.work.push_back(work);
        self.wake(shared, state);
    }

    /// Spawns a run if none runs.
    fn wake(self: &Arc<Self>, shared: &Arc<Shared>, mut state: MutexGuard<'_, State>) {
        if state.running {
            return;
        }
        state.running = true;
        drop(state);
        shared.spawn(run::run(Arc::clone(shared), Arc::clone(self)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn context(&self, shared: &Arc<Shared>) -> Context {
        let state = self.lock();
        Context::new(Arc::clone(shared), self.id.clone(), state.epoch, state.role)
    }
}

impl State {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}
