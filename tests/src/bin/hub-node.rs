//! A node of a hub that counts, in a process of its own.
//!
//! `hub-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]`, where the engine is `gossip:SEED,SEED` or
//! an endpoint of etcd. Each line of its input is a number and a request, each line of its output
//! that number and the answer: `start N [BYTES]`, `range FROM TO`, `large ID BYTES`,
//! `pinned ID NODE`, `add ID MILLISECONDS`, `sleep ID MILLISECONDS`, `sleeping`, `move ID NODE`,
//! `evacuate NODE MOVES_A_SECOND MILLISECONDS`, `homes`, `processes`, `nodes`, `suspended`, `clock`,
//! `filled`, the number of counters all of whose replicas have the state, `failures`, the checkpoints
//! and moves that failed, `leave`. A signal makes it leave, too. Every count is also written to the
//! file RECORD, as `CLOCK_BOOTTIME ID NAME COUNT TERM.GRANT`: who runs the counter, and under which
//! epoch.
//!
//! The environment says what is not as usual: `HUB_NODE_STATE_LIMIT` (bytes of a state that moves),
//! `HUB_NODE_KIND` (what it calls its kind, which is `counter`), `HUB_NODE_REPLICAS` (passive ones
//! of each counter, with its state), and in milliseconds `HUB_NODE_DEADLINE` (of a
//! move), `HUB_NODE_ASK_AGAIN` (after one that failed) and `HUB_NODE_DIGEST` (between two digests of
//! rows). `HUB_NODE_PATIENCE`: after so many seconds, less than 30, gossip holds a silent node for dead;
//! one that is killed it notices at once all the same. `HUB_NODE_ADMIN`: where its admin socket is.
//! `HUB_NODE_CHECKPOINTS`: the directory that states are written to, 20 ms after each change.
//! `HUB_NODE_CHILDREN`: so many counters start with the node. `HUB_NODE_MERGE`: they panic at a merge.
//! `HUB_NODE_BALANCE`: they run where there is least to do, which is looked at so often, in milliseconds.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handover_hub::checkpoint::Directory;
use handover_hub::engine::gossip::Pace;
use handover_hub::process::{Context, Handed, Process, Stop};
use handover_hub::{ChildSpec, Events, Hub, Scope};
use handover_hub_proto::balance::Balancing;
use handover_hub_proto::event::Event;
use handover_hub_proto::identity::{NodeId, NodeName, ShardId};
use handover_hub_proto::node::{Evacuation, Settings};
use handover_hub_proto::placement::{Distribution, shard_of};
use handover_hub_proto::redundancy::{Factor, Model, Redundancy, Signal};
use handover_tests::hub::program::{self, said};
use serde::{Deserialize, Serialize};

static FAILURES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
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
        program::count(&mut self.value, context)
    }

    fn merge(&mut self, _: Handed) -> Result<(), Stop> {
        assert!(told::<String>("HUB_NODE_MERGE").is_none(), "merge breaks");
        Ok(())
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
    if let Some(milliseconds) = told("HUB_NODE_BALANCE") {
        let every = Duration::from_millis(milliseconds);
        settings.load = every / 4;
        settings.distribution = Distribution::LoadBalanced(Balancing {
            every,
            queued: 50,
            ..Balancing::default()
        });
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
    program::open_record(record);
    let builder = Hub::builder("counters")
        .node(name)
        .listen(address)
        .insecure()
        .settings(settings())
        .state_limit(told("HUB_NODE_STATE_LIMIT").unwrap_or(64 << 20))
        .kind::<Counter>(&told::<String>("HUB_NODE_KIND").unwrap_or("counter".to_owned()));
    let builder = match told::<std::path::PathBuf>("HUB_NODE_ADMIN") {
        Some(socket) => builder.admin(socket),
        None => builder,
    };
    let builder = match told::<std::path::PathBuf>("HUB_NODE_CHECKPOINTS") {
        Some(path) => {
            let directory = Directory::new(path).expect("a directory");
            builder.checkpoints(directory, Duration::from_millis(20))
        }
        None => builder,
    };
    let children = told("HUB_NODE_CHILDREN").unwrap_or(0);
    let builder = builder.children((0..children).map(|number| counter(&format!("c{number}"), 0)));
    let builder = builder.engine(program::engine(engine, rest, pace()));
    let hub = builder.start().await.expect("the node starts");
    tokio::spawn(note_failures(hub.events()));
    program::serve(
        hub,
        |hub, request| async move { answer(&hub, &request).await },
    )
    .await;
}

/// Remembers the checkpoints and moves that fail.
async fn note_failures(mut events: Events) {
    while let Some(event) = events.next().await {
        if let Event::CheckpointFailed { process, reason }
        | Event::MoveFailed {
            process, reason, ..
        } = event
        {
            let mut failures = FAILURES.lock().expect("nobody panics");
            failures.insert(format!("{process} {reason}"));
        }
    }
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

async fn answer(hub: &Hub, request: &str) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["start", count, bytes @ ..] => {
            let count: u32 = count.parse().expect("a number");
            let bytes: usize = bytes
                .first()
                .map_or(0, |bytes| bytes.parse().expect("a number"));
            let children = (0..count).map(|number| counter(&format!("c{number}"), bytes));
            program::start(hub, children).await
        }
        ["range", from, to] => {
            let from: u32 = from.parse().expect("a number");
            let to: u32 = to.parse().expect("a number");
            let children = (from..to).map(|number| counter(&format!("c{number}"), 0));
            program::start(hub, children).await
        }
        ["large", id, bytes] => {
            let bytes = bytes.parse().expect("a number");
            program::start(hub, [counter(id, bytes)]).await
        }
        ["pinned", id, node] => program::start(hub, [counter(id, 0).pinned([*node])]).await,
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
        ["move", id, node] => said(hub.move_child(id, node).await.map(|_| "done")),
        ["evacuate", node, rate, milliseconds] => {
            let evacuation = Evacuation {
                rate: rate.parse().ok(),
                timeout: Duration::from_millis(milliseconds.parse().expect("a number")),
                ..Evacuation::of(NodeName::new(node).expect("a name"))
            };
            said(
                hub.evacuate(evacuation)
                    .await
                    .map(|evacuated| evacuated.moved),
            )
        }
        ["failures"] => failures(),
        ["homes"] => homes(hub),
        ["sleeping"] => SLEEPING.load(Ordering::Acquire).to_string(),
        ["processes"] => hub.status().processes.to_string(),
        ["filled"] => {
            let rows = hub.list(Scope::Hub);
            let wanted = usize::from(replicas()) + 1;
            let filled = rows.iter().filter(|row| {
                row.hosts().len() == wanted && row.hosts().iter().all(|host| host.filled)
            });
            filled.count().to_string()
        }
        ["suspended"] => hub.is_suspended().to_string(),
        other => format!("error no such request: {other:?}"),
    }
}

fn failures() -> String {
    let failures = FAILURES.lock().expect("nobody panics");
    let all: Vec<&str> = failures.iter().map(String::as_str).collect();
    all.join("; ")
}

fn counter(id: &str, bytes: usize) -> ChildSpec {
    ChildSpec::new("counter", id).argument(&bytes)
}

async fn call(hub: &Hub, id: &str, ask: Ask, patience: Duration) -> String {
    said(hub.call_within::<Counter>(id, ask, patience).await)
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
