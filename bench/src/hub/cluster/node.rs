//! One node in a process of its own, told by lines what to do; each line is answered by one of JSON.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handover_hub::engine::gossip::Gossip;
use handover_hub::process::{Context, Process, Stop};
use handover_hub::proto::node::StartOptions;
use handover_hub::{ChildSpec, Hub};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use super::load::Load;
use crate::Failure;

/// How long a start or a leave of the largest cluster may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Children that one start names.
const AT_ONCE: u64 = 100_000;
/// Readers that check all counters.
const READERS: u64 = 256;

/// Counts what was added.
#[derive(Serialize, Deserialize)]
pub(super) struct Counter {
    value: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Add(pub(super) u64);

impl Process for Counter {
    type Argument = u64;
    type Request = Add;
    type Reply = u64;

    async fn start(value: u64, _: &Context) -> Result<Self, Stop> {
        Ok(Self { value })
    }

    async fn handle(&mut self, Add(by): Add, _: &mut Context) -> u64 {
        self.value += by;
        self.value
    }
}

/// The id of a counter.
pub(super) fn id(number: u64) -> String {
    format!("counter-{number}")
}

pub(crate) async fn run(name: &str, address: &str, seeds: &[&str]) -> Result<(), Failure> {
    let gossip = match seeds {
        [] => Gossip::alone(),
        seeds => Gossip::seeds(seeds.iter().copied()),
    };
    let hub = Hub::builder("bench")
        .node(name)
        .listen(address)
        .engine(gossip)
        .kind::<Counter>("counter")
        .start()
        .await?;
    println!("{}", json!({ "ready": true }));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut load = None;
    while let Some(line) = lines.next_line().await? {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["start", count] => start(&hub, count.parse()?).await?,
            ["status"] => status(&hub),
            ["rows"] => rows(&hub),
            ["load", children] => {
                load = Some(Load::begin(&hub, children.parse()?));
                json!({})
            }
            ["unload"] => match load.take() {
                Some(load) => load.end(&hub).await,
                None => return Err("no load to end".into()),
            },
            ["add", count] => each(&hub, count.parse()?, 1, 1).await?,
            ["check", count] => each(&hub, count.parse()?, 0, 1).await?,
            ["leave"] => {
                let left = hub.leave(PATIENCE).await?;
                println!(
                    "{}",
                    json!({ "moved": left.moved, "left": left.left.len() })
                );
                return Ok(());
            }
            _ => return Err(format!("what is {line:?}?").into()),
        };
        println!("{answer}");
    }
    // Whoever told it what to do is gone.
    process::exit(0);
}

async fn start(hub: &Hub, count: u64) -> Result<Value, Failure> {
    let begun = Instant::now();
    let (mut started, mut failed) = (0, 0);
    let options = StartOptions {
        timeout: PATIENCE,
        ..StartOptions::default()
    };
    for first in (0..count).step_by(AT_ONCE as usize) {
        let children = (first..count.min(first + AT_ONCE))
            .map(|number| ChildSpec::new("counter", &id(number)).argument(&number));
        let result = hub.start_children(children, options).await?;
        started += result.started.len();
        failed += result.failed.len();
    }
    Ok(json!({ "us": micros(begun.elapsed()), "started": started, "failed": failed }))
}

fn status(hub: &Hub) -> Value {
    let status = hub.status();
    json!({
        "members": status.members,
        "children": status.children,
        "processes": status.processes,
        "moving": status.moving,
        "homes": status.homes,
    })
}

/// How many children the registry says each node runs.
fn rows(hub: &Hub) -> Value {
    let mut hosts = std::collections::BTreeMap::<String, usize>::new();
    for row in hub.list(handover_hub::Scope::Hub) {
        let names = row.hosts().iter().map(|host| {
            let member = hub.member(host.node);
            member.map_or_else(|| host.node.to_string(), |member| member.name.to_string())
        });
        *hosts
            .entry(names.collect::<Vec<_>>().join("+"))
            .or_default() += 1;
    }
    json!(hosts)
}

/// Adds to every counter that no client uses, and counts those that are not what they should be: their number and what
/// was added before.
async fn each(hub: &Hub, count: u64, by: u64, added: u64) -> Result<Value, Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let (wrong, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut readers = JoinSet::new();
    for _ in 0..READERS.min(count) {
        let (hub, next) = (hub.clone(), next.clone());
        let (wrong, failed) = (wrong.clone(), failed.clone());
        readers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                if Load::uses(number, count) {
                    continue;
                }
                match hub.call::<Counter>(&id(number), Add(by)).await {
                    Ok(value) if value == number + added => {}
                    Ok(_) => _ = wrong.fetch_add(1, Ordering::Relaxed),
                    Err(_) => _ = failed.fetch_add(1, Ordering::Relaxed),
                }
            }
        });
    }
    readers.join_all().await;
    Ok(json!({
        "wrong": wrong.load(Ordering::Relaxed),
        "failed": failed.load(Ordering::Relaxed),
    }))
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
