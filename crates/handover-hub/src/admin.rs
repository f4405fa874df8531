//! What a node serves to its operators: HTTP and JSON on a private Unix socket, so that
//! `curl --unix-socket` works too.
//!
//! The socket has mode 0600 from the moment it exists, and every peer's user id is checked.
//! What is shown is what this node knows, but for moves: each home orders those of its shards, and the
//! other nodes are asked for theirs while somebody looks. Whoever does not answer within a second is
//! named as unknown. Orders concern the whole hub, whichever node takes them.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`view::Status`] |
//! | `GET /v1/nodes` | a list of [`view::NodeView`], by name |
//! | `GET /v1/processes?prefix=&node=&kind=&tag=&limit=` | [`view::ProcessView`], one a line, by shard |
//! | `GET /v1/process?id=` | one [`view::ProcessView`] |
//! | `GET /v1/moves` | [`view::MoveList`]: those of the whole hub, the longest first |
//! | `GET /v1/events?since=&all=` | [`view::EventView`], one a line, for as long as the node lives |
//! | `POST /v1/move`, `/v1/pin`, `/v1/evacuate`, `/v1/abort` | [`view::Outcome`] when it is over |
//! | `GET /metrics` | Prometheus text; moves are those that this node orders |
//!
//! Every answer that is no success is a [`view::Complaint`].

mod complaint;
mod describe;
mod flights;
mod journal;
mod metrics;
mod node;
mod operations;
mod orders;
mod routes;
mod socket;
mod survey;
mod tally;
pub mod view;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{HubName, NodeId, NodeName, ProcessId, ShardId};
use handover_hub_proto::node::{Answer, Command};
use handover_hub_proto::row::Row;
use handover_hub_proto::view::{Member, Owner};

pub(crate) use self::flights::Flights;
use self::flights::Glass;
pub(crate) use self::journal::{Observer, Reader};
pub(crate) use self::node::Node;
pub use self::operations::OperationsError;
pub(crate) use self::operations::{Operations, Wanted};
pub(crate) use self::routes::{look, read as read_only};
pub use self::socket::{AdminError, socket_path};
pub(crate) use self::socket::{Server, serve};
pub(crate) use self::survey::Survey;

/// A hub as its operators see it: what one node knows, and what it can be told to do or to ask.
pub(crate) trait Operated: Send + Sync + 'static {
    /// The hub's name.
    fn hub(&self) -> HubName;
    /// This node's name.
    fn name(&self) -> NodeName;
    /// This run of the node.
    fn id(&self) -> NodeId;
    /// Ownership is exclusive in a divided network too.
    fn exclusive(&self) -> bool;
    /// Why the node stands still, if it does.
    fn suspended(&self) -> Option<String>;
    /// All members, oneself too.
    fn members(&self) -> Vec<Member>;
    /// How many shards the hub has.
    fn shards(&self) -> u16;
    /// The home of a shard.
    fn owner(&self, shard: ShardId) -> Option<Owner>;
    /// The shard of a process.
    fn shard(&self, process: &ProcessId) -> ShardId;
    /// All rows of a shard, in no order.
    fn rows(&self, shard: ShardId) -> Vec<Row>;
    /// Calls `visit` with every row, in no order.
    fn each(&self, visit: &mut dyn FnMut(&Row));
    /// One row.
    fn row(&self, process: &ProcessId) -> Option<Row>;
    /// Carries a command out; also if the future is dropped after its first poll.
    fn execute(&self, command: Command) -> BoxFuture<'static, Answer>;
}

/// What the socket and the page share.
#[derive(Clone)]
pub(crate) struct Desk {
    hub: Arc<dyn Operated>,
    observer: Arc<Observer>,
    survey: Arc<Survey>,
    glass: Arc<Glass>,
}

impl Desk {
    /// `observer` must be told the hub's events by whoever runs the hub.
    pub(crate) fn new(hub: Arc<dyn Operated>, observer: Arc<Observer>) -> Self {
        Self {
            hub,
            observer,
            survey: Arc::new(Survey::default()),
            glass: Arc::new(Glass::default()),
        }
    }

    /// A reader of events: see [`Reader::new`].
    pub(crate) fn reader(&self, since: u64, all: bool) -> Reader {
        Reader::new(&self.observer, since, all)
    }

    /// The next events: see [`Reader::next`]. Cancel safe.
    pub(crate) async fn next(
        &self,
        reader: &mut Reader,
        most: usize,
    ) -> Option<Vec<view::EventView>> {
        reader.next(&self.observer, most).await
    }

    /// Lets every reader of events end: the node ends.
    pub(crate) fn end(&self) {
        self.observer.end();
    }

    /// The name of a member, of one that was lately, or else its id.
    fn named(&self, node: NodeId) -> String {
        self.observer.named(node)
    }
}

/// Milliseconds since 1970. For people; nothing is decided by it.
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// Whether an event is told to observers and how: see [`Observer::tell`].
pub(crate) fn is_traffic(event: &Event) -> bool {
    matches!(
        event,
        Event::Registered { .. } | Event::Unregistered { .. } | Event::Owned { .. }
    )
}
