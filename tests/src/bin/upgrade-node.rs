//! A node of a hub that counts, and whose program has versions.
//!
//! `upgrade-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]`, where the engine is `gossip:SEED,SEED` or
//! an endpoint of etcd. Each line of its input is a number and a request, each line of its output
//! that number and the answer: `start-all N`, `add ID MILLISECONDS`, `nodes`, `leave`.
//! Every count is also written to the file RECORD, as
//! `CLOCK_BOOTTIME ID NAME COUNT TERM.GRANT`.
//!
//! | before NAME | |
//! |---|---|
//! | `--own DIRECTORY` | it is an instance of a service, handed from version to version; it reads no input |
//! | `--schema 2` | its counters have one more field; it reads and writes both versions |
//! | `--lacks` | it knows no counters |
//! | `--weight 0` | it runs none, if there are others |
//!
//! `hammer N CALLERS` calls counters until `rest`, whose answer is how many calls were answered,
//! failed, were answered wrongly, and how many milliseconds the slowest took.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use handover_hub::engine::gossip::Gossip;
use handover_hub::engine::{Boottime, Engine};
use handover_hub::process::{Context, Handed, Process, Stop};
use handover_hub::{Builder, ChildSpec, Hub};
use handover_hub_proto::node::StartOptions;
use handover_tests::hammer::Hammer;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader};

static RECORD: OnceLock<File> = OnceLock::new();

#[derive(Serialize, Deserialize)]
struct Counter {
    value: u64,
}

/// Counted, and written to the record.
fn count(value: &mut u64, context: &Context) -> u64 {
    *value += 1;
    let now = Boottime::now().0;
    let (id, node, epoch) = (context.id(), context.node(), context.epoch());
    let line = format!("{now} {id} {node} {value} {epoch}\n");
    // One write: lines of several nodes do not mix.
    let mut record = RECORD.get().expect("it is open");
    record.write_all(line.as_bytes()).expect("written");
    *value
}

impl Process for Counter {
    type Argument = ();
    type Request = ();
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { value: 0 })
    }

    async fn handle(&mut self, (): (), context: &mut Context) -> u64 {
        count(&mut self.value, context)
    }
}

/// The next version of it.
#[derive(Serialize, Deserialize)]
struct Counter2 {
    value: u64,
    /// Of how many counts this version knows.
    known: u64,
}

impl Process for Counter2 {
    type Argument = ();
    type Request = ();
    type Reply = u64;

    const SCHEMA: u32 = 2;
    const READS: RangeInclusive<u32> = 1..=2;
    const WRITES: RangeInclusive<u32> = 1..=2;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { value: 0, known: 0 })
    }

    async fn handle(&mut self, (): (), context: &mut Context) -> u64 {
        self.known += 1;
        count(&mut self.value, context)
    }

    fn prepare_handover_state(&mut self, schema: u32) -> Result<Handed, Stop> {
        Ok(match schema {
            1 => Handed::encode(schema, &Counter { value: self.value })?,
            _ => Handed::encode(schema, self)?,
        })
    }

    fn alter_handover_state(self, handed: Handed) -> Result<Self, Stop> {
        if handed.schema() == 1 {
            let Counter { value } = handed.decode()?;
            return Ok(Self { value, known: 0 });
        }
        Ok(handed.decode()?)
    }
}

/// What stands before the name.
#[derive(Default)]
struct Flags {
    own: Option<String>,
    schema: Option<String>,
    weight: Option<String>,
    lacks: bool,
}

impl Flags {
    fn take(arguments: &mut VecDeque<String>) -> Self {
        let mut flags = Self::default();
        while let Some(flag) = arguments
            .front()
            .filter(|word| word.starts_with("--"))
            .cloned()
        {
            arguments.pop_front();
            match flag.as_str() {
                "--own" => flags.own = arguments.pop_front(),
                "--schema" => flags.schema = arguments.pop_front(),
                "--weight" => flags.weight = arguments.pop_front(),
                "--lacks" => flags.lacks = true,
                other => panic!("{other}"),
            }
        }
        flags
    }

    fn kinds(&self, builder: Builder) -> Builder {
        match (self.lacks, self.schema.as_deref()) {
            (true, _) => builder,
            (false, None | Some("1")) => builder.kind::<Counter>("counter"),
            (false, Some("2")) => builder.kind::<Counter2>("counter"),
            (false, Some(other)) => panic!("no schema {other}"),
        }
    }
}

#[tokio::main]
async fn main() {
    let mut arguments: VecDeque<String> = handover_tests::program::own_arguments().into();
    let flags = Flags::take(&mut arguments);
    let [name, address, record, engine, rest @ ..] = &*arguments.make_contiguous() else {
        panic!("upgrade-node NAME ADDRESS RECORD ENGINE [LEASE_SECONDS]");
    };
    let record = OpenOptions::new().append(true).create(true).open(record);
    RECORD.set(record.expect("a file")).expect("set once");
    let builder = Hub::builder("counters")
        .node(name)
        .listen(address)
        .insecure()
        .shards(64);
    let builder = match flags.weight.as_ref().and_then(|weight| weight.parse().ok()) {
        Some(weight) => builder.weight(weight),
        None => builder,
    };
    let builder = flags.kinds(builder);
    let builder = match engine.strip_prefix("gossip:") {
        Some(seeds) => {
            let seeds = seeds.split(',').filter(|seed| !seed.is_empty());
            builder.engine(Gossip::seeds(seeds))
        }
        None => builder.engine(Lent(etcd(engine, rest))),
    };
    match flags.own {
        Some(directory) => own(builder, address, &directory).await,
        None => serve(builder).await,
    }
}

/// As an instance of a service.
async fn own(builder: Builder, address: &str, directory: &str) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let instance = handover::Instance::start("counters").await.expect("starts");
    let socket = instance.tcp_socket("hub", address).await.expect("a socket");
    match builder.socket(socket).own(&instance, directory).await {
        Ok(_hub) => drop(instance.retired().await),
        Err(error) => {
            eprintln!("upgrade-node: {error}");
            std::process::exit(1);
        }
    }
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

    fn resume(
        self: Box<Self>,
        me: handover_hub_proto::view::Member,
        hub: handover_hub_proto::identity::HubName,
        shards: u16,
        post: handover_hub::engine::Post,
        seat: Vec<u8>,
    ) -> handover_hub::engine::BoxFuture<
        Result<handover_hub::engine::Session, handover_hub::engine::EngineError>,
    > {
        self.0.resume(me, hub, shards, post, seat)
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
    let hammer = Arc::new(Hammer::default());
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (hub, hammer) = (hub.clone(), Arc::clone(&hammer));
        tokio::spawn(async move {
            let (number, request) = line.split_once(' ').expect("a number and a request");
            let answer = answer(&hub, &hammer, request).await;
            println!("{number} {answer}");
            if request == "leave" {
                std::process::exit(0);
            }
        });
    }
}

async fn answer(hub: &Hub, hammer: &Arc<Hammer>, request: &str) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["start-all", count] => {
            let count: u32 = count.parse().expect("a number");
            let child = |number| ChildSpec::new("counter", &format!("c{number}")).argument(&());
            let children = (0..count).map(child);
            let options = StartOptions {
                timeout: Duration::from_secs(60),
                ..StartOptions::default()
            };
            match hub.start_children(children, options).await {
                Ok(started) if started.failed.is_empty() => "done".to_owned(),
                Ok(started) => format!("error {:?}", started.failed.first()),
                Err(error) => format!("error {error}"),
            }
        }
        ["add", id, milliseconds] => {
            let patience = Duration::from_millis(milliseconds.parse().expect("a number"));
            match hub.call_within::<Counter>(id, (), patience).await {
                Ok(value) => value.to_string(),
                Err(error) => format!("error {error}"),
            }
        }
        ["hammer", counters, callers] => {
            let number = |word: &str| word.parse().expect("a number");
            hammer.begin::<Counter>(hub, number(counters), number(callers));
            "done".to_owned()
        }
        ["rest"] => {
            let tally = hammer.end().await;
            format!(
                "{} {} {} {}",
                tally.answered, tally.failed, tally.wrong, tally.slowest
            )
        }
        ["nodes"] => hub.nodes().len().to_string(),
        ["leave"] => match hub.leave(Duration::from_secs(60)).await {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("error {error}"),
        },
        other => format!("error no such request: {other:?}"),
    }
}
