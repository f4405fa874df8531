//! What a child is.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::identity::{KindName, NodeName, ProcessId};

/// When a process that ended by itself is started again on its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only after a crash.
    Transient,
    /// Never.
    Temporary,
}

/// Who runs a child.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placing {
    /// The hub's strategy says.
    #[default]
    Strategy,
    /// These nodes and no others, one for each replica. It does not move while they are gone.
    Pinned(Vec<NodeName>),
}

/// What is known of a child wherever it runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChildSpec {
    /// Its kind.
    pub kind: KindName,
    /// Its id.
    pub id: ProcessId,
    /// What it is started with, encoded by its kind.
    pub argument: Box<[u8]>,
    /// For people and for queries.
    pub metadata: Metadata,
    /// When it is started again.
    pub restart: Restart,
    /// Where.
    pub placing: Placing,
    /// It is on the list of declared children: started again after every node was gone, stopped
    /// when it is taken off the list.
    pub declared: bool,
}

/// Metadata of a child: a tag, for [queries](crate::row::Row), and words of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metadata {
    /// Found by tag queries.
    pub tag: Option<String>,
    /// Whatever else is wanted.
    pub fields: BTreeMap<String, String>,
}

impl ChildSpec {
    /// A child with neither argument nor metadata, placed by the strategy, always restarted.
    #[must_use]
    pub fn new(kind: KindName, id: ProcessId) -> Self {
        Self {
            kind,
            id,
            argument: Box::default(),
            metadata: Metadata::default(),
            restart: Restart::default(),
            placing: Placing::default(),
            declared: false,
        }
    }
}
