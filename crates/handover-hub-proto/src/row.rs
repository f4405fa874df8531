//! The registry: which child runs where. Every node has a copy; look-ups never leave the node.

use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::identity::{Epoch, NodeId, ProcessId, ShardId};
use crate::spec::ChildSpec;

/// What a replica is for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It answers calls.
    #[default]
    Active,
    /// It waits, and receives state if its hub says so.
    Passive,
}

/// One node that runs a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Host {
    /// Which node.
    pub node: NodeId,
    /// Under which epoch.
    pub epoch: Epoch,
    /// What for.
    pub role: Role,
}

/// A child and who runs it. Fields are private so that a row can be kept small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    spec: Arc<ChildSpec>,
    hosts: Vec<Host>,
}

impl Row {
    /// A child that nobody runs yet if `hosts` is empty.
    #[must_use]
    pub fn new(spec: Arc<ChildSpec>, hosts: &[Host]) -> Self {
        Self {
            spec,
            hosts: hosts.to_vec(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ProcessId {
        &self.spec.id
    }

    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &Arc<ChildSpec> {
        &self.spec
    }

    /// Who runs it.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host that answers calls; the first if several do.
    #[must_use]
    pub fn active(&self) -> Option<Host> {
        self.hosts
            .iter()
            .copied()
            .find(|host| host.role == Role::Active)
    }
}

/// Where a node keeps the rows it knows. The machine is the only writer; a driver may let others
/// read at any time.
pub trait Rows {
    /// The row of a process.
    fn get(&self, id: &ProcessId) -> Option<Row>;
    /// Adds or replaces a row.
    fn put(&mut self, row: Row);
    /// Removes a row.
    fn remove(&mut self, id: &ProcessId) -> Option<Row>;
    /// All rows of a shard, in no order.
    fn shard(&self, shard: ShardId) -> Vec<Row>;
    /// How many rows a shard has.
    fn count(&self, shard: ShardId) -> usize;
}
