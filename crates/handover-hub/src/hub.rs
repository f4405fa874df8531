//! A node of a hub, as a program holds it.

mod builder;
mod call;
mod command;
mod query;
mod shared;

use std::sync::Arc;

pub use self::builder::Builder;
pub use self::call::PATIENCE;
pub use self::command::{Evacuated, Moved, StartResult, StopResult};
pub use self::query::{Scope, Status};
pub(crate) use self::shared::{Order, Shared, View};

use handover_hub_proto::identity::{HubName, NodeId, NodeName};

use crate::events::Events;

/// One node of a hub. Clones are the same node.
///
/// Made by [`Hub::builder`]. When the last clone is dropped the node is gone as if it had been
/// killed; [`leave`](Self::leave) moves everything away first. A program may run several.
#[derive(Clone)]
pub struct Hub {
    seat: Arc<shared::Seat>,
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
        self.seat.operations.as_ref()?.page()
    }

    /// What happens from now on, as far as this node learns of it.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.shared().events.subscribe())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.seat.shared
    }
}
