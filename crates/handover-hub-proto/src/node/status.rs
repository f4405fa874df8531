//! What a node shows of itself: a copy for screens and logs, which changes nothing.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::Node;
use crate::identity::{Epoch, NodeId, ProcessId, ShardId, Term};
use crate::row::Rows;
use crate::view::Member;

/// One shard, as the node that is asked sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: ShardId,
    /// Its home; absent if nobody owns it yet.
    pub home: Option<NodeId>,
    /// Under which term.
    pub term: Term,
    /// Whom placement names, where this node has placed it.
    pub wanted: Option<NodeId>,
    /// Its children, by this node's copy.
    pub rows: usize,
}

/// How much of everything there is on one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Shards that it is the home of.
    pub homes: usize,
    /// Those of them that still take their census.
    pub census: usize,
    /// Processes that run here.
    pub hosted: usize,
    /// Processes that are being started, stopped or moved by this node's word.
    pub working: usize,
    /// Moves ordered by this node that are under way.
    pub moving: usize,
    /// Moves that wait for their turn.
    pub waiting: usize,
    /// Processes that moved away from here since the node began.
    pub moved_away: u64,
    /// Commands that have not been answered.
    pub requests: usize,
}

/// A node and what it knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub me: Member,
    /// All members, oneself among them.
    pub members: Vec<Member>,
    /// The oldest member.
    pub leader: Option<NodeId>,
    /// Why it stands still, if it does.
    pub still: Option<alloc::string::String>,
    /// Members came or went, and nothing has been placed since.
    pub settling: bool,
    /// How much of everything there is.
    pub counters: Counters,
}

impl<R: Rows> Node<R> {
    /// What this node is and knows, without its shards and moves. Cheap.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            me: Member {
                load: self.load(),
                ..self.me.clone()
            },
            members: self.members.list(),
            leader: self.members.leader(),
            still: self.is_still().then(|| self.why_still().into()),
            settling: self.settling,
            counters: self.counters(),
        }
    }

    /// How much of everything there is here.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let census = self.homes.values().filter(|home| !home.is_live()).count();
        Counters {
            homes: self.homes.len(),
            census,
            hosted: self.hosting.len(),
            working: self.homes.values().map(|home| home.work.len()).sum(),
            moving: self.pace.under_way(),
            waiting: self.pace.waiting(),
            moved_away: self.moved_away,
            requests: self.requests.len(),
        }
    }

    /// All shards in order.
    #[must_use]
    pub fn shards(&self) -> Vec<ShardStatus> {
        let status = |shard| {
            let owner = self.table.owner(shard);
            ShardStatus {
                shard,
                home: owner.map(|owner| owner.node),
                term: owner.map_or(Term(0), |owner| owner.term),
                wanted: self.table.wanted(shard),
                rows: self.rows.count(shard),
            }
        };
        self.table.shards().map(status).collect()
    }

    /// The epoch under which this node runs a process, if it does.
    #[must_use]
    pub fn hosts(&self, process: &ProcessId) -> Option<Epoch> {
        let shard = self.shard_of(process);
        self.hosting.get(shard, process).map(|here| here.epoch)
    }
}
