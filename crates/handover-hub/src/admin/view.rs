//! What operators are told: the JSON of the admin socket, the command's tables and the page.
//!
//! Nodes are named; their ids are hexadecimal text, since a number of 64 bits does not survive
//! JavaScript.

use std::collections::BTreeMap;

use handover_hub_proto::identity::{HubName, KindName, NodeName, ProcessId};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::Restart;
use handover_hub_proto::view::{Load, Standing};
use serde::{Deserialize, Serialize};

/// What one node says about its hub and itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The hub.
    pub hub: HubName,
    /// The node that says so.
    pub node: NodeName,
    /// This run of it.
    pub id: String,
    /// The version of its program.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since 1970, when this was said.
    pub unix_ms: u64,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// At most one node owns a shard, in a divided network too.
    pub exclusive: bool,
    /// Why it stands still; absent while it serves.
    pub suspended: Option<String>,
    /// Who is the home of the shards.
    pub shards: Shards,
    /// Children in its registry, wherever they run.
    pub processes: u64,
    /// Moves of the whole hub, as the nodes say that order them.
    pub moves: Moves,
    /// Nodes that are being emptied, or are empty and take nothing.
    pub evacuations: Vec<EvacuationView>,
}

/// Shards, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// Of the hub.
    pub total: u32,
    /// Whose home is this node.
    pub here: u32,
    /// Without a home: their children run, but none starts, stops or moves.
    pub vacant: u32,
}

/// Moves of the whole hub. Each node counts those that it orders, as the home of their shards, since it
/// started; these are the sums over the members, so that what a node ordered that is gone is not
/// counted any more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moves {
    /// Going on now.
    pub in_flight: u64,
    /// Put off by the wish of a process, each time it wished so.
    pub deferred: u64,
    /// That came to their end a second, over the last ten seconds.
    pub per_second: f64,
    /// That came to their end.
    pub moved: u64,
    /// That did not: those processes serve where they were.
    pub failed: u64,
    /// How long the last process that moved answered nothing, in nanoseconds.
    pub last_pause_ns: Option<u64>,
    /// Nodes whose moves are not among these: they have not answered.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// A node that is being emptied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvacuationView {
    /// Which.
    pub node: NodeName,
    /// Processes it still runs.
    pub left: u64,
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// This run of it.
    pub id: String,
    /// Where its peers reach it.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// Milliseconds since 1970 when it joined.
    pub joined_ms: u64,
    /// Whether it takes processes.
    pub standing: Standing,
    /// Its share of shards against that of others.
    pub weight: u32,
    /// Shards whose home it is.
    pub shards: u32,
    /// Children it runs, by the registry of the node that was asked.
    pub processes: u64,
    /// How busy it said it is, some seconds ago.
    pub load: Load,
    /// It is the oldest member, which balances load where that is asked for.
    pub leader: bool,
    /// It is the node that was asked.
    pub here: bool,
}

/// One child, and who runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Its id.
    pub id: ProcessId,
    /// Its kind.
    pub kind: KindName,
    /// Its shard.
    pub shard: u16,
    /// Who decides on it; absent while its shard has no home.
    pub home: Option<String>,
    /// Who runs it; nobody while it is being started again.
    pub hosts: Vec<HostView>,
    /// The nodes it is pinned to; none if the hub's strategy places it.
    pub pinned: Vec<NodeName>,
    /// When it is started again.
    pub restart: Restart,
    /// It is on the list of declared children.
    pub declared: bool,
    /// Its tag.
    pub tag: Option<String>,
    /// What else is known of it.
    pub fields: BTreeMap<String, String>,
}

impl ProcessView {
    /// The host that answers calls.
    #[must_use]
    pub fn active(&self) -> Option<&HostView> {
        self.hosts.iter().find(|host| host.role == Role::Active)
    }
}

/// One node that runs a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name, or its id if it is no member any more.
    pub node: String,
    /// Under which epoch: the term of the home that granted it, a dot, the count of grants.
    pub epoch: String,
    /// What for.
    pub role: Role,
}

/// Moves under way in the whole hub.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveList {
    /// All of them.
    pub in_flight: u64,
    /// The longest of them, the longest first: at most 50 of those that one node orders, and 200.
    pub moves: Vec<MoveView>,
    /// Nodes whose moves are not among these: they have not answered.
    pub unknown: Vec<String>,
}

/// A process on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveView {
    /// Which.
    pub process: ProcessId,
    /// From where.
    pub from: String,
    /// To where.
    pub to: String,
    /// The node that orders it, as the home of its shard.
    pub home: String,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
}

/// Whether an operator should look twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Nothing special.
    Plain,
    /// Something ended as it was meant to.
    Good,
    /// Something failed.
    Bad,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Grows by one on each node; a gap means that a slow reader missed some.
    pub seq: u64,
    /// Wall clock, milliseconds since 1970.
    pub unix_ms: u64,
    /// Which kind, in one word.
    pub event: String,
    /// The child it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The shard it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u16>,
    /// The attempt to move a child; the same on every node that tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// Where a child came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The node it is about: that joined, that owns, where a child runs now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// How long a child that moved answered nothing, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_ns: Option<u64>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How it weighs.
    pub weight: Weight,
    /// All of it, in words.
    pub text: String,
}

/// `POST /v1/move`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRequest {
    /// Which child.
    pub process: ProcessId,
    /// To where.
    pub to: NodeName,
}

/// `POST /v1/pin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// Which child.
    pub process: ProcessId,
    /// Where; nowhere leaves it to the hub's strategy again.
    pub nodes: Vec<NodeName>,
}

/// `POST /v1/evacuate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvacuateRequest {
    /// Which node.
    pub node: NodeName,
    /// Where its processes go; to all others if empty.
    #[serde(default)]
    pub to: Vec<NodeName>,
    /// Moves a second at most, from 1; absent: as the hub's settings say.
    #[serde(default)]
    pub rate: Option<u32>,
    /// How long its end is waited for, in milliseconds, from 1; absent: 24 h. It goes on after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `POST /v1/abort`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AbortRequest {
    /// Which node may take processes again.
    pub node: NodeName,
}

/// How an order ended that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The child runs where it was asked to.
    Moved {
        /// Which.
        process: ProcessId,
        /// On which node.
        node: String,
        /// How long it answered nothing, in nanoseconds.
        pause_ns: u64,
    },
    /// The node is as empty as it can be made.
    Evacuated {
        /// Which.
        node: NodeName,
        /// Processes that moved.
        moved: u64,
        /// Processes left behind, with the reason.
        left: Vec<LeftBehind>,
    },
    /// The time of an evacuation is over, and it goes on. The status is 202.
    Evacuating {
        /// Which node.
        node: NodeName,
        /// Processes it still runs.
        left: u64,
    },
    /// It was done, and there is nothing to say.
    Done,
}

/// A child that could not be moved away and serves where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// Which.
    pub process: ProcessId,
    /// Why.
    pub reason: String,
}

/// What kind of failure an order met: decides the exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mishap {
    /// The request is not what it must be.
    Usage,
    /// Nothing was begun.
    Refused,
    /// A child did not move and serves where it was.
    NotMoved,
    /// No answer in time; what became of it is not known.
    TimedOut,
    /// Whoever asked may not.
    Denied,
}

/// Why an order was not carried out: the body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// Which kind.
    pub kind: Mishap,
    /// Who still serves, and what to do next.
    pub error: String,
}
