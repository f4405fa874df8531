//! What the tasks of one node share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};

use bytes::Bytes;
use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{
    CallId, Epoch, HubName, KindName, MoveId, NodeId, NodeName, ProcessId, ShardId,
};
use handover_hub_proto::intensity::Intensity;
use handover_hub_proto::mailbox::Limits;
use handover_hub_proto::node::{Answer, Command, HostReport};
use handover_hub_proto::redundancy::Redundancy;
use handover_hub_proto::view::{Guarantees, Member, Owner};
use handover_proto::moment::Moment;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Hub;
use crate::admin::{Operations, Wanted};
use crate::calls::{Calls, Outcome};
use crate::cells::Cells;
use crate::checkpoint::Checkpoints;
use crate::driver::Hold;
use crate::engine::{SeatHolder, Validity};
use crate::error::CommandError;
use crate::handlers::Handlers;
use crate::kind::{Kinds, Schemas};
use crate::registry::Registry;
use crate::states;
use crate::timers::Timers;
use crate::transport::frame::{Redirect, Refusal, Refused, Reply};
use crate::transport::{Frame, SendError, Transport};

/// Everything of a node but its machine.
pub(crate) struct Shared {
    pub(crate) name: HubName,
    pub(crate) me: NodeId,
    pub(crate) node: NodeName,
    pub(crate) began: Instant,
    pub(crate) runtime: Handle,
    pub(crate) kinds: Kinds,
    pub(crate) registry: Registry,
    pub(crate) cells: Cells,
    pub(crate) calls: Calls,
    pub(crate) timers: Timers,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) checkpoints: Option<Checkpoints>,
    /// Of every mailbox.
    pub(crate) limits: Limits,
    /// Bytes of a message, at most.
    pub(crate) message_limit: usize,
    /// Bytes of a state that moves, at most.
    pub(crate) state_limit: u64,
    pub(crate) intensity: Intensity,
    /// Whether children have replicas, and passive ones the state of the active one.
    pub(crate) redundancy: Redundancy,
    pub(crate) handlers: Arc<Handlers>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) view: RwLock<View>,
    /// Known once the engine has let it join; before that nothing acts.
    pub(crate) validity: OnceLock<Arc<Validity>>,
    /// The partition rule, or an engine that cannot be heard: everything stands still.
    pub(crate) still: AtomicBool,
    /// The node leaves: what is stopped now was left behind, and is not over.
    pub(crate) departs: AtomicBool,
    /// The program hands over to its successor, or is one that does not serve yet: no process takes
    /// a message.
    pub(crate) held: AtomicBool,
    /// The node is gone: what still runs does nothing more.
    pub(crate) gone: AtomicBool,
    /// To the driver; bounded, so that who commands waits.
    pub(crate) orders: mpsc::Sender<Order>,
    /// To the driver; each answers an order, so there are no more than processes.
    pub(crate) reports: mpsc::UnboundedSender<HostReport>,
    /// Says so as well, to those who wait.
    pub(crate) ended: watch::Sender<bool>,
    /// Set when the node runs.
    pub(crate) seat: OnceLock<Weak<Seat>>,
}

/// What the driver is asked by others on its node: something for the machine, and where its answer
/// goes.
pub(crate) struct Order {
    pub(crate) command: Command,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What this node knows of the cluster, kept by the driver for queries.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) members: BTreeMap<NodeId, Member>,
    pub(crate) owners: BTreeMap<ShardId, Owner>,
    pub(crate) moving: BTreeSet<MoveId>,
    pub(crate) suspended: Option<String>,
    pub(crate) partitioned: bool,
    pub(crate) left: bool,
    /// Which states the other nodes read, by kind.
    pub(crate) schemas: BTreeMap<NodeId, BTreeMap<KindName, Schemas>>,
}

impl Shared {
    /// Whether this node may act now (H2).
    pub(crate) fn may_act(&self) -> bool {
        !self.still.load(Ordering::Acquire)
            && !self.gone.load(Ordering::Acquire)
            && self.validity.get().is_some_and(|validity| validity.holds())
    }

    /// Whether no process takes a message, for the program is being replaced.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// This moment, for machines.
    pub(crate) fn now(&self) -> Moment {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Moment::from_nanos(nanos)
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime.spawn(task).abort_handle()
    }

    pub(crate) fn view(&self) -> RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn view_mut(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.view().members.contains_key(&node)
    }

    /// The versions of the states of a kind that a node reads, if it has said so.
    pub(crate) fn reads_of(
        &self,
        node: NodeId,
        kind: &KindName,
    ) -> Option<std::ops::RangeInclusive<u32>> {
        if node == self.me {
            return Some(self.kinds.get(kind)?.schemas().reads);
        }
        let view = self.view();
        Some(view.schemas.get(&node)?.get(kind)?.reads.clone())
    }

    pub(crate) fn report(&self, report: HostReport) {
        // The driver ends last: what it does not take any more nobody needs.
        let _ = self.reports.send(report);
    }

    /// Sends a frame, now or as soon as there is room; lost with the connection.
    pub(crate) fn send_soon(self: &Arc<Self>, to: NodeId, frame: Frame) {
        match self.transport.send(to, frame.clone()) {
            Ok(()) => {}
            Err(SendError::Full(_)) => {
                let shared = Arc::clone(self);
                self.spawn(async move {
                    let _ = states::deliver(&shared.transport, to, frame).await;
                });
            }
            Err(error) => tracing::debug!(%error, "a frame was not sent"),
        }
    }

    /// A process answered a call.
    pub(crate) fn reply(self: &Arc<Self>, id: CallId, epoch: Epoch, body: Bytes) {
        if self.gone.load(Ordering::Acquire) {
            return;
        }
        if id.caller == self.me {
            self.calls.leave(id.number, self.me, Outcome::Reply(body));
        } else {
            self.send_soon(id.caller, Frame::Reply(Reply { id, epoch, body }));
        }
    }

    /// A call was not taken.
    pub(crate) fn refuse(self: &Arc<Self>, id: CallId, refusal: Refusal) {
        if self.gone.load(Ordering::Acquire) {
            return;
        }
        if id.caller == self.me {
            let outcome = Outcome::Refused(refusal);
            self.calls.leave(id.number, self.me, outcome);
        } else {
            self.send_soon(id.caller, Frame::Refused(Refused { id, refusal }));
        }
    }

    /// The process that was called is elsewhere.
    pub(crate) fn redirect(
        self: &Arc<Self>,
        id: CallId,
        process: &ProcessId,
        to: NodeId,
        epoch: Epoch,
    ) {
        if id.caller == self.me {
            let outcome = Outcome::Redirect(to, epoch);
            self.calls.leave(id.number, self.me, outcome);
        } else {
            let frame = Frame::Redirect(Redirect {
                id,
                process: process.clone(),
                to,
                epoch,
            });
            self.send_soon(id.caller, frame);
        }
    }

    /// A hold of this node, unless it goes down.
    pub(crate) fn hub(&self) -> Option<Hub> {
        let seat = self.seat.get()?.upgrade()?;
        Some(Hub { seat })
    }

    /// Gives the machine a command whose answer nobody waits for; dropped if too many wait.
    pub(crate) fn command_later(&self, command: Command) {
        let (answer, _) = oneshot::channel();
        let _ = self.orders.try_send(Order { command, answer });
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Answer, CommandError> {
        let (answer, answered) = oneshot::channel();
        let order = Order { command, answer };
        self.orders
            .send(order)
            .await
            .map_err(|_| CommandError::Left)?;
        answered.await.map_err(|_| CommandError::Left)
    }

    /// The node is gone: nothing of it does anything more.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        self.view_mut().left = true;
        self.ended.send_replace(true);
        self.cells.clear();
    }
}

/// What a [`Hub`] and its clones hold: the tasks end with the last of them.
pub(crate) struct Seat {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: Vec<AbortHandle>,
    /// What operators are served; ends with the seat.
    pub(crate) operations: Mutex<Option<Operations>>,
    /// For a program that is replaced by its successor.
    pub(crate) reins: Reins,
}

/// Holds the parts of a node still while its program is replaced.
pub(crate) struct Reins {
    pub(crate) driver: mpsc::Sender<Hold>,
    pub(crate) engine: SeatHolder,
    /// Counts the programs of this node, from 1.
    pub(crate) instance: u64,
    /// To serve operators again.
    pub(crate) served: (Wanted, Guarantees),
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.end();
        // Closes at once: to others it is as if the program had been killed.
        let closing = self.shared.transport.close(std::time::Duration::ZERO);
        self.shared.runtime.spawn(closing);
    }
}
