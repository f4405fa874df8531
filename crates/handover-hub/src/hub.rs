//! A node of a hub, as a program holds it.

pub(crate) mod builder;
mod call;
mod command;
mod query;
mod running;

use std::sync::{Arc, PoisonError};

pub use self::builder::Builder;
pub use self::call::PATIENCE;
pub use self::command::{Evacuated, Moved, StartResult, StopResult};
pub use self::query::{Scope, Status};
pub(crate) use self::running::{Order, Seat, Shared, View};

use handover_hub_proto::hook::{Handler, HandlerTwice, Hook};
use handover_hub_proto::identity::{HubName, NodeId, NodeName};

use crate::admin::OperationsError;
use crate::events::Events;
use crate::handlers::{Alter, Call, Code};

/// One node of a hub. Clones are the same node.
///
/// ```
/// use handover_hub::engine::gossip::Gossip;
/// use handover_hub::process::{Context, Process, Stop};
/// use handover_hub::{ChildSpec, Hub};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Session {
///     balance: i64,
/// }
///
/// impl Process for Session {
///     type Argument = i64;
///     type Request = i64;
///     type Reply = i64;
///
///     async fn start(balance: i64, _: &Context) -> Result<Self, Stop> {
///         Ok(Self { balance })
///     }
///
///     async fn handle(&mut self, deposit: i64, _: &mut Context) -> i64 {
///         self.balance += deposit;
///         self.balance
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::builder("sessions")
///     .node("a")
///     .listen("127.0.0.1:0")
///     .engine(Gossip::alone())
///     .kind::<Session>("session")
///     .start()
///     .await?;
/// hub.start_child(ChildSpec::new("session", "alice").argument(&100_i64))
///     .await?;
/// // From any node, wherever it lives, even while it moves.
/// assert_eq!(hub.call::<Session>("alice", 10).await?, 110);
/// hub.leave(std::time::Duration::from_secs(30)).await?;
/// # Ok(())
/// # }
/// ```
///
/// Made by [`Hub::builder`]. When the last clone is dropped the node is gone as if it had been
/// killed; [`leave`](Self::leave) moves everything away first. A program may run several.
#[derive(Clone)]
pub struct Hub {
    seat: Arc<running::Seat>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("name", self.name())
            .field("node", self.node_name())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A node of the hub of this name, to be described further.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// The hub's name.
    #[must_use]
    pub fn name(&self) -> &HubName {
        &self.shared().name
    }

    /// This run of this node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared().me
    }

    /// This node's name.
    #[must_use]
    pub fn node_name(&self) -> &NodeName {
        &self.shared().node
    }

    /// Where its page is served, if [`Builder::dashboard`] asked for one.
    #[must_use]
    pub fn dashboard(&self) -> Option<std::net::SocketAddr> {
        let operations = self.seat.operations.lock();
        operations
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()?
            .page()
    }

    /// What happens from now on, as far as this node learns of it.
    #[must_use]
    pub fn events(&self) -> Events {
        let shared = self.shared();
        Events::new(shared.events.subscribe(), shared.ended.subscribe())
    }

    /// Calls `call` at a hook from now on, those with the higher priority first; also for what
    /// happened before and is still waiting for a slower handler.
    ///
    /// # Errors
    ///
    /// [`HandlerTwice`]: the hook has a handler of this id. Nothing changed.
    pub fn add_hook(
        &self,
        hook: Hook,
        id: &str,
        priority: i32,
        call: Call,
    ) -> Result<(), HandlerTwice> {
        self.add(hook, id, priority, Code::Call(call))
    }

    /// Alters children from now on whose start is asked on this node, at
    /// [`Hook::AlterSpec`], those with the higher priority first.
    ///
    /// # Errors
    ///
    /// [`HandlerTwice`]: that hook has a handler of this id. Nothing changed.
    pub fn add_alter(&self, id: &str, priority: i32, alter: Alter) -> Result<(), HandlerTwice> {
        self.add(Hook::AlterSpec, id, priority, Code::Alter(alter))
    }

    fn add(&self, hook: Hook, id: &str, priority: i32, call: Code) -> Result<(), HandlerTwice> {
        let id = id.to_owned();
        let handler = Handler { id, priority, call };
        self.shared().handlers.add(hook, handler)
    }

    /// Calls a handler no more, but for a call that has begun; false if the hook has none of this id.
    pub fn remove_hook(&self, hook: Hook, id: &str) -> bool {
        self.shared().handlers.remove(hook, id)
    }

    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Serves operators as the node was described.
    pub(crate) async fn serve_operators(&self) -> Result<(), OperationsError> {
        let (wanted, guarantees) = self.seat.reins.served.clone();
        let served = wanted.serve(self.shared(), guarantees).await?;
        let operations = &self.seat.operations;
        *operations.lock().unwrap_or_else(PoisonError::into_inner) = served;
        Ok(())
    }

    /// Serves them no more; another program can.
    pub(crate) fn close_operators(&self) {
        let operations = &self.seat.operations;
        let served = operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(served);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.seat.shared
    }
}
