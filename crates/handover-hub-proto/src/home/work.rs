//! What a home is doing to one process.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use handover_proto::moment::Moment;

use crate::identity::{Epoch, NodeId};
use crate::message::Ask;
use crate::migration::Movement;
use crate::node::Failure;
use crate::row::{Host, Role};
use crate::spec::ChildSpec;

/// Whom an answer goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) node: NodeId,
    pub(crate) request: u64,
}

/// A grant that has not been answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) epoch: Epoch,
    pub(crate) role: Role,
    /// From the state of a passive replica.
    pub(crate) replica: bool,
}

/// A process that hosts are starting.
pub(crate) struct Starting {
    pub(crate) spec: Arc<ChildSpec>,
    /// Those that run it.
    pub(crate) hosts: Vec<Host>,
    pub(crate) pending: BTreeMap<NodeId, Pending>,
    pub(crate) failed: Option<Failure>,
    /// An earlier home had it started: where it should run has not been looked at yet.
    pub(crate) adopted: bool,
    /// Nobody ran it before, so that it is nothing if it does not start.
    pub(crate) fresh: bool,
}

/// A process that hosts are ending.
pub(crate) struct Stopping {
    pub(crate) pending: BTreeMap<NodeId, Epoch>,
    pub(crate) nodes: Vec<NodeId>,
    /// It is not to begin again afterwards.
    pub(crate) for_good: bool,
}

/// A process that moves.
pub(crate) struct Moving {
    pub(crate) movement: Box<Movement>,
    pub(crate) began: Moment,
    /// When it had its turn to depart, until its target serves.
    pub(crate) turn: Option<Moment>,
    /// When its source was told to let go.
    pub(crate) departs: Option<Moment>,
    /// How long it answered nothing, as seen from here.
    pub(crate) pause_ns: u64,
}

/// What is done.
pub(crate) enum Doing {
    Starting(Starting),
    Stopping(Stopping),
    Moving(Moving),
}

/// What is being done to one process. Whatever else is wanted of it waits.
pub(crate) struct Work {
    pub(crate) doing: Doing,
    /// Who is answered when it is done.
    pub(crate) askers: Vec<Asker>,
    /// What was asked meanwhile.
    pub(crate) then: Vec<(Asker, Ask, bool)>,
    /// When hosts were last told.
    pub(crate) said: Moment,
}

impl Work {
    pub(crate) fn new(doing: Doing, asker: Option<Asker>, now: Moment) -> Self {
        Self {
            doing,
            askers: asker.into_iter().collect(),
            then: Vec::new(),
            said: now,
        }
    }
}
