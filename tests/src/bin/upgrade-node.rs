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
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use handover_hub::engine::gossip::Pace;
use handover_hub::process::{Context, Handed, Process, Stop};
use handover_hub::{Builder, ChildSpec, Hub};
use handover_tests::hammer::Hammer;
use handover_tests::hub::program::{self, said};
use serde::{Deserialize, Serialize};

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
        program::count(&mut self.value, context)
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
        program::count(&mut self.value, context)
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
    program::open_record(record);
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
    let builder = builder.engine(program::engine(engine, rest, Pace::default()));
    match flags.own {
        Some(directory) => own(builder, address, &directory).await,
        None => {
            let hammer = Arc::new(Hammer::default());
            let hub = builder.start().await.expect("the node starts");
            program::serve(hub, move |hub, request| {
                let hammer = Arc::clone(&hammer);
                async move { answer(&hub, &hammer, &request).await }
            })
            .await;
        }
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

async fn answer(hub: &Hub, hammer: &Arc<Hammer>, request: &str) -> String {
    let words: Vec<&str> = request.split(' ').collect();
    match words.as_slice() {
        ["start-all", count] => {
            let count: u32 = count.parse().expect("a number");
            let child = |number| ChildSpec::new("counter", &format!("c{number}")).argument(&());
            let children = (0..count).map(child);
            program::start(hub, children).await
        }
        ["add", id, milliseconds] => {
            let patience = Duration::from_millis(milliseconds.parse().expect("a number"));
            said(hub.call_within::<Counter>(id, (), patience).await)
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
        other => format!("error no such request: {other:?}"),
    }
}
