//! The registry: which child runs where. Every node has a copy; look-ups never leave the node.

mod packed;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::packed::Packed;

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
    /// It has all that was acknowledged. Only a passive replica that is sent state can lack it: one
    /// that is new, until it has the state of the active one. It is not made the active one before.
    pub filled: bool,
}

/// A child and who runs it. Small, since every node has one for every child: 64 bytes, which hold all
/// that a look-up of its host needs, and one allocation for what [`spec`](Self::spec) has besides the
/// id, encoded. Rows of the same child share it; ids over 24 bytes have an allocation of their own.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    id: ProcessId,
    hosts: Hosts,
    rest: Rest,
}

/// What a child is, without its id. Rows of the same child share it.
#[derive(Clone, PartialEq, Eq)]
pub struct Rest(Arc<Packed>);

impl Rest {
    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.0.head().tag
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rest").field(&self.0.head().kind).finish()
    }
}

/// Most children have one host, which needs no allocation of its own.
#[derive(Clone, PartialEq, Eq)]
enum Hosts {
    None,
    One(Host),
    More(Box<[Host]>),
}

impl Hosts {
    fn new(hosts: &[Host]) -> Self {
        match hosts {
            [] => Self::None,
            [host] => Self::One(*host),
            more => Self::More(more.into()),
        }
    }

    fn as_slice(&self) -> &[Host] {
        match self {
            Self::None => &[],
            Self::One(host) => core::slice::from_ref(host),
            Self::More(hosts) => hosts,
        }
    }
}

impl Row {
    /// A child that nobody runs yet if `hosts` is empty.
    #[must_use]
    pub fn new(spec: impl Borrow<ChildSpec>, hosts: &[Host]) -> Self {
        let spec = spec.borrow();
        Self {
            id: spec.id.clone(),
            hosts: Hosts::new(hosts),
            rest: Rest(Arc::new(Packed::new(spec))),
        }
    }

    /// A row whose parts were kept one by one.
    #[must_use]
    pub fn of(id: ProcessId, hosts: &[Host], rest: Rest) -> Self {
        Self {
            id,
            hosts: Hosts::new(hosts),
            rest,
        }
    }

    /// The same child with other hosts.
    #[must_use]
    pub fn with_hosts(&self, hosts: &[Host]) -> Self {
        Self {
            id: self.id.clone(),
            hosts: Hosts::new(hosts),
            rest: self.rest.clone(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// What it is, without its id.
    #[must_use]
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    /// Its kind. Free, like [`tag`](Self::tag).
    #[must_use]
    pub fn kind(&self) -> &str {
        self.rest.0.head().kind
    }

    /// Its tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.rest.tag()
    }

    /// Whether it is on the list of declared children.
    #[must_use]
    pub fn declared(&self) -> bool {
        self.rest.0.head().declared
    }

    /// What it is. Decoded anew by every call: for starting it, not for looking it up.
    #[must_use]
    pub fn spec(&self) -> Arc<ChildSpec> {
        Arc::new(self.rest.0.spec(&self.id))
    }

    /// Who runs it.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        self.hosts.as_slice()
    }

    /// The host that answers calls; the first if several do.
    #[must_use]
    pub fn active(&self) -> Option<Host> {
        let active = |host: &&Host| host.role == Role::Active;
        self.hosts().iter().find(active).copied()
    }

    /// Bytes it takes in a message, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.id.as_str().len() + self.rest.0.size() + self.hosts().len() * 24
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("spec", &self.spec())
            .field("hosts", &self.hosts())
            .finish()
    }
}

/// A row as nodes send it.
#[derive(Serialize, Deserialize)]
struct Sent<I, P, H> {
    id: I,
    rest: P,
    hosts: H,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Sent {
            id: &self.id,
            rest: &*self.rest.0,
            hosts: self.hosts(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent: Sent<ProcessId, Packed, Vec<Host>> = Sent::deserialize(deserializer)?;
        Ok(Self {
            id: sent.id,
            hosts: Hosts::new(&sent.hosts),
            rest: Rest(Arc::new(sent.rest)),
        })
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

#[cfg(test)]
mod tests;
