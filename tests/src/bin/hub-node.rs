//! A node of a hub that counts, in a process of its own.
//!
//! `hub-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]`, where the engine is `gossip:SEED,SEED` or
//! an endpoint of etcd. Each line of its input is a number and a request, each line of its output
//! that number and the answer: `start N`, `add ID MILLISECONDS`, `nodes`, `suspended`, `filled`, the
//! number of counters all of whose replicas have the state, `leave`.
//! With `HUB_NODE_REPLICAS=N` in its environment each counter has as many passive replicas.
//! Every count is also written to the file RECORD, as `CLOCK_BOOTTIME ID NAME COUNT`.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use handover_hub::engine::gossip::Gossip;
use handover_hub::engine::{Boottime, Engine};
use handover_hub::process::{Context, Process, Stop};
use handover_hub::{Builder, ChildSpec, Hub, Scope};
use handover_hub_proto::node::Settings;
use handover_hub_proto::redundancy::{Factor, Model, Redundancy, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

static RECORD: OnceLock<File> = OnceLock::new();

#[derive(Serialize, Deserialize)]
struct Counter {
    value: u64,
}

impl Process for Counter {
    type Argument = ();
    type Request = ();
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { value: 0 })
    }

    async fn handle(&mut self, (): (), context: &mut Context) -> u64 {
        self.value += 1;
        let now = Boottime::now().0;
        let line = format!("{now} {} {} {}\n", context.id(), context.node(), self.value);
        // One write: lines of several nodes do not mix.
        let mut record = RECORD.get().expect("it is open");
        record.write_all(line.as_bytes()).expect("written");
        self.value
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, record, engine, rest @ ..] = arguments.as_slice() else {
        panic!("hub-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]");
    };
    let record = OpenOptions::new().append(true).create(true).open(record);
    RECORD.set(record.expect("a file")).expect("set once");
    let builder = replicated(Hub::builder("counters"))
        .node(name)
        .listen(address)
        .insecure()
        .shards(64)
        .kind::<Counter>("counter");
    let builder = match engine.strip_prefix("gossip:") {
        Some(seeds) => {
            let seeds = seeds.split(',').filter(|seed| !seed.is_empty());
            builder.engine(Gossip::seeds(seeds))
        }
        None => builder.engine(Lent(etcd(engine, rest))),
    };
    serve(builder).await;
}

/// How many passive replicas a counter has.
fn replicas() -> u16 {
    let replicas = std::env::var("HUB_NODE_REPLICAS").ok();
    replicas.map_or(0, |replicas| replicas.parse().expect("a number"))
}

fn replicated(builder: Builder) -> Builder {
    let redundancy = match replicas() {
        0 => Redundancy::Single,
        replicas => Redundancy::Replicated {
            factor: Factor::Nodes(replicas + 1),
            model: Model::ActivePassive,
            signal: Signal::None,
            state: true,
        },
    };
    builder.settings(Settings {
        redundancy,
        ..Settings::default()
    })
}

/// An engine whose type is not known.
struct Lent(Box<dyn Engine>);

impl Engine for Lent {
    fn guarantees(&self) -> handover_hub_proto::view::Guarantees {
        self.0.guarantees()
    }

    fn start(
        self: Box<Self>,
        me: handover_hub_proto::view::Member,
        hub: handover_hub_proto::identity::HubName,
        shards: u16,
        post: handover_hub::engine::Post,
    ) -> handover_hub::engine::BoxFuture<
        Result<handover_hub::engine::Session, handover_hub::engine::EngineError>,
    > {
        self.0.start(me, hub, shards, post)
    }
}

#[cfg(feature = "etcd")]
fn etcd(endpoint: &str, rest: &[String]) -> Box<dyn Engine> {
    let mut engine = handover_hub::engine::etcd::Etcd::connect([endpoint]);
    if let [seconds] = rest {
        engine = engine.lease(Duration::from_secs(seconds.parse().expect("a number")));
    }
    Box::new(engine)
}

#[cfg(not(feature = "etcd"))]
fn etcd(_: &str, _: &[String]) -> Box<dyn Engine> {
    panic!("built without the feature etcd");
}

async fn serve(builder: Builder) {
    let hub = builder.start().await.expect("the node starts");
    println!("0 ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let hub = hub.clone();
        tokio::spawn(async move {
            let (number, request) = line.split_once(' ').expect("a number and a request");
            let answer = answer(&hub, request).await;
            println!("{number} {answer}");
            if request == "leave" {
                std::process::exit(0);
            }
        });
    }
}

async fn answer(hub: &Hub, request: &str) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["start", count] => {
            let count: u32 = count.parse().expect("a number");
            for number in 0..count {
                let child = ChildSpec::new("counter", &format!("c{number}")).argument(&());
                if let Err(error) = hub.start_child(child).await {
                    return format!("error {error}");
                }
            }
            "done".to_owned()
        }
        ["add", id, milliseconds] => {
            let patience = Duration::from_millis(milliseconds.parse().expect("a number"));
            match hub.call_within::<Counter>(id, (), patience).await {
                Ok(value) => value.to_string(),
                Err(error) => format!("error {error}"),
            }
        }
        ["nodes"] => hub.nodes().len().to_string(),
        ["filled"] => {
            let rows = hub.list(Scope::Hub);
            let wanted = usize::from(replicas()) + 1;
            let filled = rows.iter().filter(|row| {
                row.hosts().len() == wanted && row.hosts().iter().all(|host| host.filled)
            });
            filled.count().to_string()
        }
        ["suspended"] => hub.is_suspended().to_string(),
        ["leave"] => match hub.leave(Duration::from_secs(60)).await {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("error {error}"),
        },
        other => format!("error no such request: {other:?}"),
    }
}
