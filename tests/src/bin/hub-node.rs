//! A node of a hub that counts, in a process of its own.
//!
//! `hub-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]`, where the engine is `gossip:SEED,SEED` or
//! an endpoint of etcd. Each line of its input is a number and a request, each line of its output
//! that number and the answer: `start N [BYTES]`, `range FROM TO`, `large ID BYTES`,
//! `add ID MILLISECONDS`, `sleep ID MILLISECONDS`, `sleeping`, `move ID NODE`, `homes`, `processes`,
//! `nodes`, `suspended`, `clock`, `filled`, the number of counters all of whose replicas have the state,
//! `leave`. Every count is also written to the file RECORD, as
//! `CLOCK_BOOTTIME ID NAME COUNT TERM.GRANT`: who runs the counter, and under which epoch.
//!
//! The environment says what is not as usual: `HUB_NODE_STATE_LIMIT` (bytes of a state that moves),
//! `HUB_NODE_KIND` (what it calls its kind, which is `counter`), `HUB_NODE_REPLICAS` (passive ones
//! of each counter, with its state), and in milliseconds `HUB_NODE_DEADLINE` (of a
//! move), `HUB_NODE_ASK_AGAIN` (after one that failed) and `HUB_NODE_DIGEST` (between two digests of
//! rows). `HUB_NODE_PATIENCE`: after so many seconds, less than 30, gossip holds a silent node for dead;
//! one that is killed it notices at once all the same.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handover_hub::engine::gossip::{Gossip, Pace};
use handover_hub::engine::{Boottime, Engine};
use handover_hub::process::{Context, Process, Stop};
use handover_hub::{Builder, ChildSpec, Hub, Scope};
use handover_hub_proto::identity::{NodeId, ShardId};
use handover_hub_proto::node::{Settings, StartOptions};
use handover_hub_proto::placement::shard_of;
use handover_hub_proto::redundancy::{Factor, Model, Redundancy, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

static RECORD: OnceLock<File> = OnceLock::new();
static SLEEPING: AtomicUsize = AtomicUsize::new(0);

#[derive(Serialize, Deserialize)]
struct Counter {
    value: u64,
    /// Makes its state as large as a test wants it.
    ballast: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
enum Ask {
    Add,
    Sleep(u64),
}

impl Process for Counter {
    type Argument = usize;
    type Request = Ask;
    type Reply = u64;

    async fn start(bytes: usize, _: &Context) -> Result<Self, Stop> {
        let ballast = vec![1; bytes];
        Ok(Self { value: 0, ballast })
    }

    async fn handle(&mut self, ask: Ask, context: &mut Context) -> u64 {
        if let Ask::Sleep(milliseconds) = ask {
            SLEEPING.fetch_add(1, Ordering::AcqRel);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            SLEEPING.fetch_sub(1, Ordering::AcqRel);
            return self.value;
        }
        self.value += 1;
        let now = Boottime::now().0;
        let (id, node, epoch) = (context.id(), context.node(), context.epoch());
        let line = format!("{now} {id} {node} {} {epoch}\n", self.value);
        // One write: lines of several nodes do not mix.
        let mut record = RECORD.get().expect("it is open");
        record.write_all(line.as_bytes()).expect("written");
        self.value
    }
}

/// What the environment says of this.
fn told<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok()?.parse().ok()
}

fn settings() -> Settings {
    let mut settings = Settings {
        shards: 64,
        ..Settings::default()
    };
    if let Some(milliseconds) = told("HUB_NODE_DEADLINE") {
        settings.migration.timeout = Duration::from_millis(milliseconds);
    }
    if let Some(milliseconds) = told("HUB_NODE_ASK_AGAIN") {
        settings.migration.ask_again = Duration::from_millis(milliseconds);
    }
    if let Some(milliseconds) = told("HUB_NODE_DIGEST") {
        settings.digest = Duration::from_millis(milliseconds);
    }
    if replicas() > 0 {
        settings.redundancy = Redundancy::Replicated {
            factor: Factor::Nodes(replicas() + 1),
            model: Model::ActivePassive,
            signal: Signal::None,
            state: true,
        };
    }
    settings
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, address, record, engine, rest @ ..] = arguments.as_slice() else {
        panic!("hub-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]");
    };
    let record = OpenOptions::new().append(true).create(true).open(record);
    RECORD.set(record.expect("a file")).expect("set once");
    let builder = Hub::builder("counters")
        .node(name)
        .listen(address)
        .insecure()
        .settings(settings())
        .state_limit(told("HUB_NODE_STATE_LIMIT").unwrap_or(64 << 20))
        .kind::<Counter>(&told::<String>("HUB_NODE_KIND").unwrap_or("counter".to_owned()));
    let builder = match engine.strip_prefix("gossip:") {
        Some(seeds) => {
            let seeds = seeds.split(',').filter(|seed| !seed.is_empty());
            builder.engine(Gossip::seeds(seeds).pace(pace()))
        }
        None => builder.engine(Lent(etcd(engine, rest))),
    };
    serve(builder).await;
}

fn pace() -> Pace {
    let usual = Pace::default();
    match told::<u32>("HUB_NODE_PATIENCE") {
        None => usual,
        Some(seconds) => Pace {
            suspicion: f64::from(seconds) / usual.interval.as_secs_f64(),
            grace: Duration::from_secs(u64::from(seconds)),
            ..usual
        },
    }
}

/// How many passive replicas a counter has.
fn replicas() -> u16 {
    let replicas = std::env::var("HUB_NODE_REPLICAS").ok();
    replicas.map_or(0, |replicas| replicas.parse().expect("a number"))
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
        ["start", count, bytes @ ..] => {
            let count: u32 = count.parse().expect("a number");
            let bytes: usize = bytes
                .first()
                .map_or(0, |bytes| bytes.parse().expect("a number"));
            let children = (0..count).map(|number| counter(&format!("c{number}"), bytes));
            start(hub, children).await
        }
        ["range", from, to] => {
            let from: u32 = from.parse().expect("a number");
            let to: u32 = to.parse().expect("a number");
            let children = (from..to).map(|number| counter(&format!("c{number}"), 0));
            start(hub, children).await
        }
        ["large", id, bytes] => {
            let bytes = bytes.parse().expect("a number");
            start(hub, [counter(id, bytes)]).await
        }
        ["clock"] => {
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            since.expect("after 1970").as_secs().to_string()
        }
        ["add", id, milliseconds] => {
            let patience = Duration::from_millis(milliseconds.parse().expect("a number"));
            call(hub, id, Ask::Add, patience).await
        }
        ["sleep", id, milliseconds] => {
            let milliseconds = milliseconds.parse().expect("a number");
            let patience = Duration::from_millis(milliseconds) + Duration::from_secs(60);
            call(hub, id, Ask::Sleep(milliseconds), patience).await
        }
        ["move", id, node] => match hub.move_child(id, node).await {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("error {error}"),
        },
        ["homes"] => homes(hub),
        ["sleeping"] => SLEEPING.load(Ordering::Acquire).to_string(),
        ["processes"] => hub.status().processes.to_string(),
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

fn counter(id: &str, bytes: usize) -> ChildSpec {
    ChildSpec::new("counter", id).argument(&bytes)
}

async fn start(hub: &Hub, children: impl IntoIterator<Item = ChildSpec>) -> String {
    let options = StartOptions {
        timeout: Duration::from_secs(300),
        ..StartOptions::default()
    };
    match hub.start_children(children, options).await {
        Ok(result) if result.failed.is_empty() => "done".to_owned(),
        Ok(result) => format!("error {:?}", result.failed),
        Err(error) => format!("error {error}"),
    }
}

async fn call(hub: &Hub, id: &str, ask: Ask, patience: Duration) -> String {
    match hub.call_within::<Counter>(id, ask, patience).await {
        Ok(value) => value.to_string(),
        Err(error) => format!("error {error}"),
    }
}

/// `ID HOME HOST` for each process, `-` for one that is not known, with commas between them.
fn homes(hub: &Hub) -> String {
    let owners: BTreeMap<ShardId, NodeId> = hub
        .homes()
        .into_iter()
        .map(|(shard, owner)| (shard, owner.node))
        .collect();
    let name = |node: Option<NodeId>| {
        let member = node.and_then(|node| hub.member(node));
        member.map_or_else(|| "-".to_owned(), |member| member.name.to_string())
    };
    let lines = hub.list(Scope::Hub).into_iter().map(|row| {
        let home = owners.get(&shard_of(row.id(), settings().shards)).copied();
        let host = row.active().map(|host| host.node);
        format!("{} {} {}", row.id(), name(home), name(host))
    });
    lines.collect::<Vec<String>>().join(",")
}
