//! What the tasks of one node share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{HubName, MoveId, NodeId, NodeName, ProcessId, ShardId};
use handover_hub_proto::node::{Answer, Command, HostReport};
use handover_hub_proto::view::{Member, Owner};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Hub;
use crate::cells::Cells;
use crate::engine::Validity;
use crate::error::{CallError, CommandError};
use crate::kind::Kinds;
use crate::registry::Registry;

/// Everything of a node but its machine.
pub(crate) struct Shared {
    pub(crate) name: HubName,
    pub(crate) me: NodeId,
    pub(crate) node: NodeName,
    pub(crate) kinds: Kinds,
    pub(crate) registry: Registry,
    pub(crate) cells: Cells,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) view: RwLock<View>,
    /// Known once the engine has let it join; before that nothing acts.
    pub(crate) validity: OnceLock<Arc<Validity>>,
    /// To the driver; bounded, so that who commands waits.
    pub(crate) orders: mpsc::Sender<Order>,
    /// To the driver; each answers an order, so there are no more than processes.
    pub(crate) reports: mpsc::UnboundedSender<HostReport>,
    /// Set when the node runs.
    pub(crate) seat: OnceLock<Weak<Seat>>,
}

/// What the driver is asked by others on its node.
pub(crate) enum Order {
    /// Something for the machine, and where its answer goes.
    Command(Command, oneshot::Sender<Answer>),
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
}

impl Shared {
    /// Whether the engine vouches for this node now.
    pub(crate) fn may_act(&self) -> bool {
        self.validity.get().is_some_and(|validity| validity.holds())
    }

    pub(crate) fn view(&self) -> RwLockWriteGuard<'_, View> {
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self, report: HostReport) {
        // The driver ends last: what it does not take any more nobody needs.
        let _ = self.reports.send(report);
    }

    /// A hold of this node, unless it goes down.
    pub(crate) fn hub(&self) -> Option<Hub> {
        let seat = self.seat.get()?.upgrade()?;
        Some(Hub { seat })
    }

    /// Gives the machine a command whose answer nobody waits for; dropped if too many wait.
    pub(crate) fn command_later(&self, command: Command) {
        let (answer, _) = oneshot::channel();
        let _ = self.orders.try_send(Order::Command(command, answer));
    }

    pub(crate) async fn call(
        &self,
        process: ProcessId,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        let _ = (process, body, patience);
        Err(CallError::Left)
    }

    pub(crate) async fn cast(&self, process: ProcessId, body: Bytes) -> Result<(), CallError> {
        let _ = (process, body);
        Err(CallError::Left)
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Answer, CommandError> {
        let (answer, answered) = oneshot::channel();
        let order = Order::Command(command, answer);
        self.orders
            .send(order)
            .await
            .map_err(|_| CommandError::Left)?;
        answered.await.map_err(|_| CommandError::Left)
    }
}

/// What a [`Hub`](super::Hub) and its clones hold: the tasks end with the last of them.
pub(crate) struct Seat {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tasks: Vec<AbortHandle>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.cells.clear();
    }
}
