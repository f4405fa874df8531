//! What a process that has nothing to do costs, with its row in the registry, on one node.
//!
//! Alone in its program: it measures what the program has resident.

use handover_hub::engine::memory::Authority;
use handover_hub::process::{Context, Process, Stop};
use handover_hub::proto::node::StartOptions;
use handover_hub::transport::local::Network;
use handover_hub::{ChildSpec, Hub, Scope};
use serde::{Deserialize, Serialize};

/// Bytes that an idle process may cost all in all, by what the design promises (1.7 kB) and what an
/// unoptimised build and an allocator's slack add.
const BYTES: u64 = 2_500;

const PROCESSES: u64 = 100_000;

#[derive(Serialize, Deserialize)]
struct Counter(u64);

impl Process for Counter {
    type Argument = ();
    type Request = u64;
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self(0))
    }

    async fn handle(&mut self, by: u64, _: &mut Context) -> u64 {
        self.0 += by;
        self.0
    }
}

/// Bytes of memory that this program has resident.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_process_costs_little() {
    let (authority, network) = (Authority::new(), Network::new());
    let hub = Hub::builder("memory")
        .node("a")
        .network(&network)
        .engine(authority.engine())
        .kind::<Counter>("counter");
    let hub = hub.start().await.unwrap();
    let start = async |from: u64, to: u64| {
        for batch in (from..to).step_by(5_000) {
            let child = |n: u64| ChildSpec::new("counter", &format!("counter-{n}"));
            let children = (batch..to.min(batch + 5_000)).map(child);
            let options = StartOptions::default();
            let started = hub.start_children(children, options).await.unwrap();
            assert_eq!(started.failed, []);
        }
    };
    // What is allocated once.
    start(0, 5_000).await;
    let before = resident();
    let began = std::time::Instant::now();
    start(5_000, 5_000 + PROCESSES).await;
    let took = began.elapsed();
    let each = resident().saturating_sub(before) / PROCESSES;
    println!("{PROCESSES} processes started in {took:?}, {each} bytes each");
    assert_eq!(hub.list(Scope::Node).len() as u64, 5_000 + PROCESSES);
    assert_eq!(hub.call::<Counter>("counter-77777", 3).await, Ok(3));
    assert!(each < BYTES, "{each} bytes each");
}
