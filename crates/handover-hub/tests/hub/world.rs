//! A small cluster in this program.

use std::time::Duration;

use handover_hub::engine::memory::Authority;
use handover_hub::process::{Context, Process, Stop};
use handover_hub::proto::redundancy::{Factor, Model, Redundancy, Signal};
use handover_hub::transport::local::Network;
use handover_hub::{Builder, ChildSpec, Hub};
use serde::{Deserialize, Serialize};

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Nodes that know each other.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) network: Network,
}

impl World {
    pub(crate) fn builder(&self, node: &str) -> Builder {
        Hub::builder("world")
            .node(node)
            .listen(node)
            .network(&self.network)
            .engine(self.authority.engine())
            .shards(64)
            .kind::<Counter>("counter")
    }

    /// Children have a passive replica each, with their state.
    pub(crate) fn replicated(&self, node: &str, signal: Signal) -> Builder {
        self.builder(node).redundancy(Redundancy::Replicated {
            factor: Factor::Nodes(2),
            model: Model::ActivePassive,
            signal,
            state: true,
        })
    }

    pub(crate) async fn node(&self, node: &str) -> Hub {
        self.builder(node).start().await.expect("the node starts")
    }
}

/// Counts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counter {
    pub(crate) value: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Add(u64),
    Read,
    Where,
    Sleep(u64),
    AddLater { after_ms: u64, by: u64 },
    Finish,
    Panic,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    Value(u64),
    Node(String),
}

impl Process for Counter {
    type Argument = u64;
    type Request = Ask;
    type Reply = Told;

    async fn start(value: u64, _: &Context) -> Result<Self, Stop> {
        Ok(Self { value })
    }

    async fn handle(&mut self, ask: Ask, context: &mut Context) -> Told {
        match ask {
            Ask::Add(by) => self.value += by,
            Ask::Read => {}
            Ask::Where => return Told::Node(context.node().to_string()),
            Ask::Sleep(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Ask::AddLater { after_ms, by } => {
                context.send_after::<Self>(Duration::from_millis(after_ms), &Ask::Add(by));
            }
            Ask::Finish => context.finish(),
            Ask::Panic => panic!("as asked"),
        }
        Told::Value(self.value)
    }
}

/// A counter to be started.
pub(crate) fn counter(id: &str, value: u64) -> ChildSpec {
    ChildSpec::new("counter", id).argument(&value)
}

/// The name of the node that runs a child.
pub(crate) async fn place(hub: &Hub, id: &str) -> String {
    let host = hub.whereis(&id.parse().unwrap()).expect("it has a host");
    hub.member(host.node).expect("a member").name.to_string()
}

/// An id that placement has on this node, which nobody uses.
pub(crate) async fn id_on(hub: &Hub) -> String {
    for n in 0.. {
        let id = format!("id{n}");
        hub.start_child(counter(&id, 0)).await.unwrap();
        let place = place(hub, &id).await;
        hub.stop_child(&id).await.unwrap();
        if place == hub.node_name().as_str() {
            return id;
        }
    }
    unreachable!("every node has its share of ids")
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "it did not come about: {what}");
}
