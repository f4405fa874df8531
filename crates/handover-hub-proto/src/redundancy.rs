//! How many nodes run a child, which ones, and as what.
//!
//! A child's first replica is where its shard's home is; the others are where the shard would like
//! to be next. So when the home is gone, its shards fall to nodes that most often run their passive
//! replicas already, and no state has to travel.
//!
//! Against ProcessHub 0.4.1: which replica is active is what the registry says
//! ([`Row::active`](crate::row::Row::active)), and not worked out by each node from names; replicas
//! may keep a copy of the state; roles are worked out anew at every change of members, also when
//! nothing has to be started.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::identity::{NodeId, ShardId};
use crate::placement::ranked;
use crate::row::{Host, Role};
use crate::view::Member;

/// How many replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// So many, or one on each node if there are fewer nodes. Zero counts as one.
    Nodes(u16),
    /// One on each node that takes processes.
    EveryNode,
}

/// What replicas are to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// All answer calls; whatever they must agree on is their own business.
    #[default]
    ActiveActive,
    /// One answers calls.
    ActivePassive,
}

/// Which replicas are told their role, when they start and when it changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those that are or become active.
    Active,
    /// Those that are or become passive.
    Passive,
}

impl Signal {
    /// Whether a replica is told that it has this role.
    #[must_use]
    pub const fn tells(self, role: Role) -> bool {
        matches!(
            (self, role),
            (Self::All, _) | (Self::Active, Role::Active) | (Self::Passive, Role::Passive)
        )
    }
}

/// Whether and how children are replicated. The same on all nodes of a hub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redundancy {
    /// One node runs a child.
    #[default]
    Single,
    /// Several do.
    Replicated {
        /// How many.
        factor: Factor,
        /// What they are to each other.
        model: Model,
        /// Which are told their role.
        signal: Signal,
        /// Whether passive replicas are kept up to date with the state of the active one, so that
        /// it survives its node. Nothing to do with active-active.
        state: bool,
    },
}

/// What must be done so that a child has the replicas that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where a replica is missing, and as what.
    pub start: Vec<(NodeId, Role)>,
    /// Who has another role from now on.
    pub turn: Vec<(NodeId, Role)>,
    /// Who has one too many.
    pub stop: Vec<NodeId>,
}

impl Changes {
    /// Whether all is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start.is_empty() && self.turn.is_empty() && self.stop.is_empty()
    }

    /// Whether a passive replica is to become an active one.
    #[must_use]
    pub fn promotes(&self) -> bool {
        self.turn.iter().any(|(_, role)| *role == Role::Active)
    }
}

impl Redundancy {
    /// How many nodes of so many run a child.
    #[must_use]
    pub fn replicas(&self, nodes: usize) -> usize {
        match self {
            Self::Single => nodes.min(1),
            Self::Replicated {
                factor: Factor::Nodes(factor),
                ..
            } => nodes.min(usize::from(*factor).max(1)),
            Self::Replicated {
                factor: Factor::EveryNode,
                ..
            } => nodes,
        }
    }

    /// What the replica at a place of the list of hosts is; the first is at place 0.
    #[must_use]
    pub const fn role(&self, place: usize) -> Role {
        match self {
            Self::Replicated {
                model: Model::ActivePassive,
                ..
            } if place > 0 => Role::Passive,
            _ => Role::Active,
        }
    }

    /// Whether a replica is told that it has this role.
    #[must_use]
    pub const fn tells(&self, role: Role) -> bool {
        match self {
            Self::Single => false,
            Self::Replicated { signal, .. } => signal.tells(role),
        }
    }

    /// Whether passive replicas get the state of the active one.
    #[must_use]
    pub const fn keeps_state(&self) -> bool {
        matches!(
            self,
            Self::Replicated {
                model: Model::ActivePassive,
                state: true,
                ..
            }
        )
    }

    /// Who should run the children of a shard, and as what: its home first. The same for all
    /// children of a shard, so it is worked out once a shard and not once a child.
    #[must_use]
    pub fn hosts(&self, shard: ShardId, home: NodeId, members: &[Member]) -> Vec<(NodeId, Role)> {
        if matches!(self, Self::Single) {
            return alloc::vec![(home, Role::Active)];
        }
        let others = ranked(members, shard, members.len());
        let others = others.into_iter().filter(|node| *node != home);
        let nodes: Vec<NodeId> = core::iter::once(home).chain(others).collect();
        self.roles(&nodes)
    }

    /// The first of these nodes, as many as there are to be, with their roles.
    #[must_use]
    pub fn roles(&self, nodes: &[NodeId]) -> Vec<(NodeId, Role)> {
        nodes
            .iter()
            .take(self.replicas(nodes.len()))
            .enumerate()
            .map(|(place, node)| (*node, self.role(place)))
            .collect()
    }
}

/// What must be done so that those who run a child become those who should.
#[must_use]
pub fn changes(running: &[Host], wanted: &[(NodeId, Role)]) -> Changes {
    let mut changes = Changes::default();
    for (node, role) in wanted {
        match running.iter().find(|host| host.node == *node) {
            None => changes.start.push((*node, *role)),
            Some(host) if host.role != *role => changes.turn.push((*node, *role)),
            Some(_) => {}
        }
    }
    let superfluous = running
        .iter()
        .filter(|host| wanted.iter().all(|(node, _)| *node != host.node));
    changes.stop.extend(superfluous.map(|host| host.node));
    changes
}

/// Which surviving replica becomes the active one when none is: one that has all that was
/// acknowledged, if there is any ([`Host::filled`]); of these the one that is wanted first, or else
/// the one under the highest epoch. None if no replica survives, or an active one does.
#[must_use]
pub fn heir(survivors: &[Host], wanted: &[(NodeId, Role)]) -> Option<Host> {
    if survivors.iter().any(|host| host.role == Role::Active) {
        return None;
    }
    let place = |node: NodeId| wanted.iter().position(|(wanted, _)| *wanted == node);
    survivors
        .iter()
        .min_by_key(|host| {
            let place = place(host.node).unwrap_or(usize::MAX);
            (
                !host.filled,
                place,
                core::cmp::Reverse(host.epoch),
                host.node,
            )
        })
        .copied()
}

#[cfg(test)]
mod tests;
