//! What a hub is asked about. Every answer comes from this node's own copy: nothing is sent.

use handover_hub_proto::identity::{HubName, NodeId, NodeName, ProcessId, ShardId};
use handover_hub_proto::row::{Host, Row, Rows};
use handover_hub_proto::view::{Member, Owner};
use serde::{Deserialize, Serialize};

use super::Hub;

/// Which children are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of the hub.
    #[default]
    Hub,
    /// Those that this node runs.
    Node,
}

/// How a node is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its hub.
    pub hub: HubName,
    /// Which node.
    pub node: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Nodes of the hub, this one among them.
    pub members: usize,
    /// Shards of the hub.
    pub shards: u16,
    /// Shards whose home it is.
    pub homes: usize,
    /// Children of the hub.
    pub children: usize,
    /// Children it runs.
    pub processes: usize,
    /// Moves it knows of that have begun and not ended.
    pub moving: usize,
    /// Why it stands still, if it does.
    pub suspended: Option<String>,
    /// Whether it has left its hub.
    pub left: bool,
}

impl Hub {
    /// The nodes of the hub, this one among them, by name.
    #[must_use]
    pub fn nodes(&self) -> Vec<Member> {
        let mut members: Vec<_> = self.view(|view| view.members.values().cloned().collect());
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// The node of this name or number.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<Member> {
        self.view(|view| view.members.get(&node).cloned())
    }

    /// A child and who runs it.
    #[must_use]
    pub fn lookup(&self, id: &str) -> Option<Row> {
        let id = ProcessId::new(id).ok()?;
        self.shared().registry.get(&id)
    }

    /// Who answers calls to a child: without a copy of its row, so this is the faster one.
    #[must_use]
    pub fn whereis(&self, id: &ProcessId) -> Option<Host> {
        self.shared().registry.active(id).flatten()
    }

    /// All children, in no order.
    #[must_use]
    pub fn list(&self, scope: Scope) -> Vec<Row> {
        let me = self.node();
        self.rows(|row| match scope {
            Scope::Hub => true,
            Scope::Node => row.hosts().iter().any(|host| host.node == me),
        })
    }

    /// Children with this tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Vec<Row> {
        self.shared().registry.tagged(tag)
    }

    /// Children whose metadata has this field with this value.
    #[must_use]
    pub fn query(&self, field: &str, value: &str) -> Vec<Row> {
        self.rows(|row| {
            let fields = &row.spec().metadata.fields;
            fields.get(field).is_some_and(|found| found == value)
        })
    }

    /// The home of every shard that has one.
    #[must_use]
    pub fn homes(&self) -> Vec<(ShardId, Owner)> {
        self.view(|view| {
            view.owners
                .iter()
                .map(|(shard, owner)| (*shard, *owner))
                .collect()
        })
    }

    /// Whether this node is a member of its hub.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.view(|view| !view.left)
    }

    /// Whether everything on this node stands still: its lease is in doubt, or its partition rule
    /// says so.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.view(|view| view.suspended.is_some()) || !self.shared().may_act()
    }

    /// Whether its partition rule says that too few nodes are left.
    #[must_use]
    pub fn is_partitioned(&self) -> bool {
        self.view(|view| view.partitioned)
    }

    /// How this node is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let me = self.node();
        self.view(|view| Status {
            hub: shared.name.clone(),
            node: me,
            name: shared.node.clone(),
            members: view.members.len(),
            shards: shared.registry.shards(),
            homes: view
                .owners
                .values()
                .filter(|owner| owner.node == me)
                .count(),
            children: shared.registry.len(),
            processes: shared.cells.len(),
            moving: view.moving.len(),
            suspended: view.suspended.clone(),
            left: view.left,
        })
    }

    fn rows(&self, mut wanted: impl FnMut(&Row) -> bool) -> Vec<Row> {
        let mut rows = Vec::new();
        self.shared().registry.each(|row| {
            if wanted(row) {
                rows.push(row.clone());
            }
        });
        rows
    }

    fn view<T>(&self, look: impl FnOnce(&super::running::View) -> T) -> T {
        look(&self.shared().view())
    }
}
