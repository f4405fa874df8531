//! One process on this node.

use handover_hub_proto::identity::ProcessId;

/// A process: its mailbox and itself.
pub(crate) struct Cell {
    id: ProcessId,
}

impl Cell {
    pub(crate) fn id(&self) -> &ProcessId {
        &self.id
    }
}
