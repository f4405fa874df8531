//! What nodes tell each other.
//!
//! A [`Message`] is a batch of items in the order in which they were said. Nodes of different
//! versions form one cluster while it is upgraded: items are only ever added at the end, and a node
//! that cannot read a message drops it; whatever it missed is repaired by digests and asked again.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::balance::Board;
use crate::identity::{Epoch, NodeId, NodeName, ProcessId, ShardId, Term};
use crate::migration::{self, Holding};
use crate::node::{Answer, Failure, HostFailure, Ordered};
use crate::partition::Memory;
use crate::registry::Stopped;
use crate::row::{Host, Role, Row};
use crate::spec::{ChildSpec, Placing};
use crate::view::Load;

/// Most items in one message: a receiver takes it in within a millisecond or two.
pub const ITEMS_AT_ONCE: usize = 128;

/// A message is closed when its items are about this large, in bytes.
pub const BYTES_AT_ONCE: usize = 256 * 1024;

/// What one node tells another at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub(crate) items: Vec<Item>,
}

impl Message {
    /// How many things are said.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// About how many bytes it has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.items.iter().map(Item::size).sum()
    }

    /// What it says of moves, and of who runs what: of which process, and the name of it. For
    /// traces.
    pub fn of_processes(&self) -> impl Iterator<Item = (&ProcessId, &'static str)> {
        self.items.iter().filter_map(|item| match item {
            Item::Order(order) => Some((&order.process, order.bid.name())),
            Item::Reported(report) => Some((&report.process, report.word.name())),
            Item::Changed {
                change: Change::Put(row),
                ..
            } => Some((row.id(), "row")),
            _ => None,
        })
    }
}

/// How far a copy of a shard's rows has come: whose it is, under which term, and how many changes
/// that home has made. In a divided network two homes can have one term; the higher id wins, as it
/// does among their claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) term: Term,
    pub(crate) home: NodeId,
    pub(crate) sequence: u64,
}

impl Default for Position {
    /// Before the first home.
    fn default() -> Self {
        Self {
            term: Term(0),
            home: NodeId(0),
            sequence: 0,
        }
    }
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Put(Row),
    /// It ended for good, and so did all that ran under an epoch before this.
    Remove {
        process: ProcessId,
        ended: Epoch,
    },
}

/// What a host says of one of its processes when a home takes a census.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hosted {
    pub(crate) spec: Arc<ChildSpec>,
    pub(crate) epoch: Epoch,
    pub(crate) role: Role,
    /// It has been activated.
    pub(crate) ready: bool,
    /// It has all that was acknowledged.
    pub(crate) filled: bool,
    /// What of it is here: it runs, or is on its way.
    pub(crate) holding: Holding,
}

/// A process that ended by itself, which its home has not noted yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Departed {
    pub(crate) process: ProcessId,
    pub(crate) epoch: Epoch,
}

/// The answer to a census of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// How far the reporter's copy of the rows has come.
    pub(crate) position: Position,
    pub(crate) hosted: Vec<Hosted>,
    /// Processes on their way to the reporter.
    pub(crate) landing: Vec<(ProcessId, Holding)>,
    pub(crate) departed: Vec<Departed>,
}

/// Why a host did not do what it was granted; [`HostFailure`] for other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    UnknownKind,
    Said(String),
    /// It knows a home of a higher term.
    Stale,
}

impl From<HostFailure> for Refusal {
    fn from(failure: HostFailure) -> Self {
        match failure {
            HostFailure::UnknownKind => Self::UnknownKind,
            HostFailure::Refused(reason) | HostFailure::Transfer(reason) => Self::Said(reason),
            HostFailure::TooLarge { limit, found } => Self::Said(alloc::format!(
                "its state may have {limit} bytes and has {found}"
            )),
            HostFailure::Deferred => Self::Said("it deferred".into()),
            HostFailure::Busy => Self::Said("it is busy".into()),
            HostFailure::NotHere => Self::Said("it is not there".into()),
        }
    }
}

/// What the home of a process is asked to do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    Start {
        spec: Arc<ChildSpec>,
        check_existing: bool,
    },
    Stop,
    Move {
        to: NodeId,
    },
    Pin(Placing),
    ReadyToMove,
    Locate,
}

/// What a home answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Started(Vec<Host>),
    Stopped(Vec<NodeId>),
    Moved {
        node: NodeId,
        pause_ns: u64,
    },
    Done,
    Failed(Failure),
    /// It is not the home, or not yet: look again.
    NotHome,
    Located(Vec<Host>),
}

/// How a node is emptied, as all homes are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emptying {
    /// Where its processes go; wherever placement says if empty.
    pub(crate) to: Vec<NodeName>,
    pub(crate) rate: Option<u32>,
}

/// A part of a list of children. Parts come in order; the list is used as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// From 0.
    pub(crate) number: u32,
    pub(crate) children: Vec<Arc<ChildSpec>>,
    /// With the last one: that of all children.
    pub(crate) digest: Option<u64>,
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    // Rows, from their home to all others.
    Changed {
        shard: ShardId,
        position: Position,
        change: Change,
    },
    Held {
        shard: ShardId,
        position: Position,
    },
    Digest {
        shard: ShardId,
        position: Position,
    },
    /// A new home begins at `position`; whose copy is at `base` has the same rows.
    Began {
        shard: ShardId,
        position: Position,
        base: Position,
    },
    Fetch {
        shard: ShardId,
    },
    Whole {
        shard: ShardId,
        position: Position,
        rows: Vec<Row>,
        last: bool,
    },

    // Who runs what, between a home and all others.
    Census {
        shard: ShardId,
        term: Term,
    },
    Report {
        shard: ShardId,
        term: Term,
        report: Report,
    },
    Grant {
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        role: Role,
        replica: bool,
        /// The home's.
        term: Term,
    },
    Granted {
        process: ProcessId,
        epoch: Epoch,
        result: Result<(), Refusal>,
    },
    End {
        process: ProcessId,
        epoch: Epoch,
        /// The home's.
        term: Term,
    },
    Ended {
        process: ProcessId,
        epoch: Epoch,
    },
    Departed(Departed),
    Noted(Departed),
    Confirm {
        process: ProcessId,
        epoch: Epoch,
    },
    Confirmed {
        process: ProcessId,
        epoch: Epoch,
        /// The home's.
        term: Term,
    },

    // Moves, between a home and those who take part.
    Order(migration::Order),
    Reported(migration::Report),

    // What somebody wants of a process, to its home and back.
    Ask {
        request: u64,
        process: ProcessId,
        ask: Ask,
        /// It was asked before, of this home or another one.
        again: bool,
    },
    Told {
        request: u64,
        process: ProcessId,
        told: Told,
    },
    /// To all: how this node is emptied, or that it is no longer.
    Emptying(Option<Emptying>),
    /// To the node that is to be emptied, or no longer.
    Evacuate {
        request: u64,
        emptying: Option<Emptying>,
    },
    /// The answer of another node to a command that was passed on to it.
    Answered {
        request: u64,
        answer: Answer,
    },
    /// To the leader.
    Declare {
        request: u64,
        children: Vec<Arc<ChildSpec>>,
    },
    /// From the leader: the list of declared children.
    Declared {
        version: u64,
        children: Vec<Arc<ChildSpec>>,
    },
    /// What a partition rule remembers.
    Memory(Memory),
    /// From the host of a passive replica to its home: it has the state of the active one.
    Filled {
        process: ProcessId,
        epoch: Epoch,
    },
    /// How busy nodes are: to the one that balances of oneself, from it of all.
    Loads(Vec<(NodeId, Load)>),
    /// From the one that balances: what it makes of that.
    Board(Board),
    /// Children of a shard that ended; said before its rows.
    Buried {
        shard: ShardId,
        buried: Vec<Stopped>,
    },
    /// Something was said to this node before it knew who spoke.
    Unheard,
    /// A part of a list for the leader, which is too long for one message.
    DeclarePart {
        request: u64,
        part: Part,
    },
    /// The same from the leader: of the list of this version.
    DeclaredPart {
        version: u64,
        part: Part,
    },
    /// From the leader: the version of the list that all should have.
    Declares {
        version: u64,
    },
    /// The sender has an older one.
    FetchDeclared,
    /// Somebody looks at the sender: which moves are ordered by who is asked?
    AskMoves {
        question: u64,
    },
    /// These.
    ToldMoves {
        question: u64,
        ordered: Ordered,
    },
}

/// Bytes of an item apart from its texts, roughly.
const ITEM: usize = 40;

impl Item {
    /// Whether a process that moves stands still until it is heard.
    pub(crate) const fn is_urgent(&self) -> bool {
        match self {
            Self::Order(order) => order.bid.is_urgent(),
            Self::Reported(report) => report.word.is_urgent(),
            _ => false,
        }
    }

    /// What it makes of work for who hears it, in the bytes of rows that would make as much.
    pub(crate) const fn work(&self) -> usize {
        match self {
            // Each is about all processes of a shard.
            Self::Census { .. } | Self::Report { .. } | Self::Fetch { .. } => 8 * 1024,
            _ => 0,
        }
    }

    /// About how many bytes it has; it closes batches, nothing more.
    pub(crate) fn size(&self) -> usize {
        ITEM + match self {
            Self::Changed {
                change: Change::Put(row),
                ..
            } => row.size(),
            Self::Whole { rows, .. } => rows.iter().map(Row::size).sum(),
            Self::Report { report, .. } => report
                .hosted
                .iter()
                .map(|hosted| spec_size(&hosted.spec) + ITEM)
                .sum(),
            Self::Grant { spec, .. }
            | Self::Ask {
                ask: Ask::Start { spec, .. },
                ..
            } => spec_size(spec),
            Self::Declare { children, .. }
            | Self::Declared { children, .. }
            | Self::DeclarePart {
                part: Part { children, .. },
                ..
            }
            | Self::DeclaredPart {
                part: Part { children, .. },
                ..
            } => children.iter().map(|spec| spec_size(spec)).sum(),
            Self::Buried { buried, .. } => {
                let ids = buried.iter().map(|(id, _)| id.as_str().len() + ITEM);
                ids.sum()
            }
            Self::Memory(memory) => ITEM * (memory.names.len() + memory.lost.len()),
            Self::Loads(loads) => 16 * loads.len(),
            Self::ToldMoves { ordered, .. } => {
                let flights = ordered.flights.iter();
                ITEM + flights
                    .map(|one| one.process.as_str().len() + 30)
                    .sum::<usize>()
            }
            Self::Board(board) => 12 * board.scores.len() + 24 * board.shifts.len(),
            Self::Changed { .. }
            | Self::Held { .. }
            | Self::Digest { .. }
            | Self::Began { .. }
            | Self::Fetch { .. }
            | Self::Census { .. }
            | Self::Granted { .. }
            | Self::End { .. }
            | Self::Ended { .. }
            | Self::Departed(_)
            | Self::Noted(_)
            | Self::Confirm { .. }
            | Self::Confirmed { .. }
            | Self::Order(_)
            | Self::Reported(_)
            | Self::Ask { .. }
            | Self::Told { .. }
            | Self::Emptying(_)
            | Self::Evacuate { .. }
            | Self::Answered { .. }
            | Self::Filled { .. }
            | Self::Unheard
            | Self::Declares { .. }
            | Self::FetchDeclared
            | Self::AskMoves { .. } => 0,
        }
    }
}

pub(crate) fn spec_size(spec: &ChildSpec) -> usize {
    let fields = &spec.metadata.fields;
    spec.id.as_str().len()
        + spec.kind.as_str().len()
        + spec.argument.len()
        + fields.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
}
