//! What the programs of nodes have in common: the engine that they are told, the record that they
//! write, and the requests that they read.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use handover_hub::engine::gossip::{Gossip, Pace};
use handover_hub::engine::{Boottime, Engine};
use handover_hub::process::Context;
use handover_hub::{ChildSpec, Hub};
use handover_hub_proto::node::StartOptions;
use tokio::io::{AsyncBufReadExt as _, BufReader};

static RECORD: OnceLock<File> = OnceLock::new();

/// How long moving everything away may take: as long as a test waits for it.
const LEAVE: Duration = Duration::from_secs(60);

/// Opens the record of this program, a file that all nodes write.
///
/// # Panics
/// When it cannot be opened, or was before.
pub fn open_record(path: &str) {
    let record = OpenOptions::new().append(true).create(true).open(path);
    RECORD.set(record.expect("a file")).expect("set once");
}

/// Counts on, and writes that to the record: `CLOCK_BOOTTIME ID NODE COUNT TERM.GRANT`.
///
/// # Panics
/// When there is no record, or it cannot be written.
pub fn count(value: &mut u64, context: &Context) -> u64 {
    *value += 1;
    let now = Boottime::now().0;
    let (id, node, epoch) = (context.id(), context.node(), context.epoch());
    let line = format!("{now} {id} {node} {value} {epoch}\n");
    // One write: lines of several nodes do not mix.
    let mut record = RECORD.get().expect("it is open");
    record.write_all(line.as_bytes()).expect("written");
    *value
}

/// The engine that is named: `gossip:SEED,SEED` at this pace, or an endpoint of etcd and its lease in
/// seconds.
///
/// # Panics
/// When the seconds are no number, and without the feature `etcd` when it is one of etcd.
#[must_use]
pub fn engine(name: &str, seconds: &[String], pace: Pace) -> Box<dyn Engine> {
    match name.strip_prefix("gossip:") {
        Some(seeds) => {
            let seeds = seeds.split(',').filter(|seed| !seed.is_empty());
            Box::new(Gossip::seeds(seeds).pace(pace))
        }
        None => etcd(name, seconds),
    }
}

#[cfg(feature = "etcd")]
fn etcd(endpoint: &str, seconds: &[String]) -> Box<dyn Engine> {
    let mut engine = handover_hub::engine::etcd::Etcd::connect([endpoint]);
    if let [seconds] = seconds {
        engine = engine.lease(Duration::from_secs(seconds.parse().expect("a number")));
    }
    Box::new(engine)
}

#[cfg(not(feature = "etcd"))]
fn etcd(_: &str, _: &[String]) -> Box<dyn Engine> {
    panic!("built without the feature etcd");
}

/// Answers the requests that the program reads, each in a task of its own: a line is a number and a
/// request, and its answer that number and the answer. `nodes` and `leave` are answered here. A
/// signal makes the node leave, too. Returns when no more can come.
///
/// # Panics
/// When a line is not of this form.
pub async fn serve<F>(hub: Hub, answer: impl Fn(Hub, String) -> F)
where
    F: Future<Output = String> + Send + 'static,
{
    let leaving = hub.clone();
    tokio::spawn(async move {
        let left = leaving.leave_on_signal(LEAVE).await;
        std::process::exit(i32::from(left.is_err()));
    });
    println!("0 ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let (number, request) = line.split_once(' ').expect("a number and a request");
        let number = number.to_owned();
        match request {
            "nodes" => println!("{number} {}", hub.nodes().len()),
            "leave" => {
                let hub = hub.clone();
                tokio::spawn(async move {
                    let left = hub.leave(LEAVE).await;
                    println!("{number} {}", said(left.map(|_| "done")));
                    std::process::exit(0);
                });
            }
            other => {
                let answer = answer(hub.clone(), other.to_owned());
                tokio::spawn(async move { println!("{number} {}", answer.await) });
            }
        }
    }
}

/// What became of something: a word, or the error.
#[must_use]
pub fn said(result: Result<impl ToString, impl std::fmt::Display>) -> String {
    match result {
        Ok(word) => word.to_string(),
        Err(error) => format!("error {error}"),
    }
}

/// Starts children all at once.
pub async fn start(hub: &Hub, children: impl IntoIterator<Item = ChildSpec>) -> String {
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
