//! Counters on three nodes of one hub, in one program for a start.
//!
//! ```text
//! cargo run -p handover-hub --example counter
//! ```

use std::time::Duration;

use handover_hub::engine::gossip::Gossip;
use handover_hub::process::{Context, Process, Stop};
use handover_hub::{ChildSpec, Hub, Scope};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Counter {
    count: u64,
}

#[derive(Serialize, Deserialize)]
struct Add(u64);

impl Process for Counter {
    type Argument = ();
    type Request = Add;
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { count: 0 })
    }

    async fn handle(&mut self, Add(by): Add, _: &mut Context) -> u64 {
        self.count += by;
        self.count
    }
}

async fn node(name: &str, port: u16) -> Result<Hub, handover_hub::error::StartError> {
    let hub = Hub::builder("counters")
        .node(name)
        .listen(&format!("127.0.0.1:{port}"))
        .engine(Gossip::seeds(["127.0.0.1:7601"]))
        .kind::<Counter>("counter");
    hub.start().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let a = node("a", 7601).await?;
    let children = (0..300).map(|n| ChildSpec::new("counter", &format!("counter-{n}")));
    let started = a.start_children(children, Default::default()).await?;
    println!("{} counters on node a", started.started.len());

    let b = node("b", 7602).await?;
    let c = node("c", 7603).await?;
    // Processes move to the newcomers, with their state; callers notice nothing.
    for round in 1..=5_u64 {
        for n in 0..300 {
            let id = format!("counter-{n}");
            assert_eq!(b.call::<Counter>(&id, Add(1)).await?, round);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for hub in [&a, &b, &c] {
        let here = hub.list(Scope::Node).len();
        println!("{here} counters on node {}", hub.node_name());
    }

    let left = b.leave(Duration::from_secs(30)).await?;
    println!("node b moved {} counters away and left", left.moved);
    let count = c.call::<Counter>("counter-7", Add(1)).await?;
    println!("counter-7 has counted to {count}");
    Ok(())
}
