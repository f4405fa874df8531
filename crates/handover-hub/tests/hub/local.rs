//! A node's program is replaced by its successor, over real sockets and gossip.

use std::io::Cursor;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::time::Duration;

use handover_hub::engine::gossip::Gossip;
use handover_hub::local::{HandedHub, ResumeError, Unfit, WriteError};
use handover_hub::process::{Context, Handed, Process, Stop};
use handover_hub::{Builder, ChildSpec, Hub};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(60);

/// Counts, after a while if it is told so.
#[derive(Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[derive(Serialize, Deserialize)]
enum Ask {
    Count,
    /// It answers after this many milliseconds.
    Slowly(u64),
    /// It counts after this many milliseconds, by itself.
    Later(u64),
}

impl Process for Counter {
    type Argument = ();
    type Request = Ask;
    type Reply = u64;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self { value: 0 })
    }

    async fn handle(&mut self, ask: Ask, context: &mut Context) -> u64 {
        match ask {
            Ask::Count => {}
            Ask::Slowly(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            }
            Ask::Later(milliseconds) => {
                let after = Duration::from_millis(milliseconds);
                context.send_after::<Self>(after, &Ask::Count);
                return self.value;
            }
        }
        self.value += 1;
        self.value
    }
}

/// A version whose state is another one.
#[derive(Serialize, Deserialize)]
struct Other {
    value: String,
}

impl Process for Other {
    type Argument = ();
    type Request = Ask;
    type Reply = u64;

    const SCHEMA: u32 = 7;
    const READS: RangeInclusive<u32> = 7..=7;

    async fn start((): (), _: &Context) -> Result<Self, Stop> {
        Ok(Self {
            value: String::new(),
        })
    }

    async fn handle(&mut self, _: Ask, _: &mut Context) -> u64 {
        0
    }

    fn alter_handover_state(self, handed: Handed) -> Result<Self, Stop> {
        Ok(handed.decode()?)
    }
}

struct Pair {
    socket: TcpListener,
    seeds: [String; 2],
    /// The node that is replaced.
    a: Hub,
    b: Hub,
}

fn described(name: &str, socket: &TcpListener, seeds: &[String; 2]) -> Builder {
    Hub::builder("counters")
        .node(name)
        .socket(socket.try_clone().unwrap())
        .shards(16)
        .engine(Gossip::seeds(seeds.clone()))
}

impl Pair {
    async fn start(children: usize) -> Self {
        let sockets = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let seeds = sockets
            .each_ref()
            .map(|socket| socket.local_addr().unwrap().to_string());
        let start = |name, socket| described(name, socket, &seeds).kind::<Counter>("counter");
        let [first, second] = &sockets;
        let (a, b) = tokio::join!(
            start("a", first).start(),
            start("b", second).weight(0).start()
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        until("both know each other", || {
            a.nodes().len() == 2 && b.nodes().len() == 2
        })
        .await;
        for number in 0..children {
            let child = ChildSpec::new("counter", &format!("c{number}")).argument(&());
            b.start_child(child).await.unwrap();
        }
        let [socket, _] = sockets;
        Self {
            socket,
            seeds,
            a,
            b,
        }
    }

    async fn rested(&self) -> HandedHub {
        self.a.hand_over(PATIENCE).await.unwrap()
    }

    fn next(&self) -> Builder {
        described("a", &self.socket, &self.seeds)
    }

    async fn call(&self, id: &str, ask: Ask) -> u64 {
        let called = self.b.call_within::<Counter>(id, ask, PATIENCE);
        called.await.unwrap()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

fn written(handed: &HandedHub) -> Vec<u8> {
    let mut bytes = Vec::new();
    let processes = handed.write(&mut bytes, |_| Some(1)).unwrap();
    assert!(processes > 0);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_goes_on_with_every_process_its_timers_and_who_waits() {
    let pair = Pair::start(20).await;
    let node = pair.a.node();
    for number in 0..20 {
        assert_eq!(pair.call(&format!("c{number}"), Ask::Count).await, 1);
    }
    assert_eq!(pair.call("c3", Ask::Later(300)).await, 1);
    let handed = pair.rested().await;
    let bytes = written(&handed);
    // It waits, and is answered by the successor.
    let waiting = {
        let b = pair.b.clone();
        tokio::spawn(async move { b.call_within::<Counter>("c5", Ask::Count, PATIENCE).await })
    };
    let next = pair.next().kind::<Counter>("counter");
    let successor = next.resume(Cursor::new(bytes)).await.unwrap();
    assert!(!waiting.is_finished());
    let a = successor.serve().await.unwrap();
    drop(handed);
    assert_eq!(a.node(), node);
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    for number in (0..20).filter(|number| ![3, 5].contains(number)) {
        assert_eq!(pair.call(&format!("c{number}"), Ask::Count).await, 2);
    }
    let mut value = 1;
    while value < 3 {
        // One of these two counts is the timer's.
        value = pair.call("c3", Ask::Count).await;
    }
    assert_eq!(pair.b.nodes().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_successor_never_served_goes_on() {
    let pair = Pair::start(20).await;
    let slow = {
        let b = pair.b.clone();
        let ask = Ask::Slowly(200);
        tokio::spawn(async move { b.call_within::<Counter>("c0", ask, PATIENCE).await })
    };
    for _ in 0..3 {
        let handed = pair.rested().await;
        let bytes = written(&handed);
        let next = pair.next().kind::<Counter>("counter");
        let successor = next.resume(Cursor::new(bytes)).await.unwrap();
        drop(successor);
        handed.go_on().await;
        for number in 1..20 {
            pair.call(&format!("c{number}"), Ask::Count).await;
        }
    }
    assert_eq!(slow.await.unwrap().unwrap(), 1);
    assert_eq!(pair.call("c0", Ask::Count).await, 2);
    assert_eq!(pair.call("c7", Ask::Count).await, 4);
    assert_eq!(pair.b.nodes().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_fit_is_refused() {
    let pair = Pair::start(3).await;
    let handed = pair.rested().await;
    let unknown = handed.write(Vec::new(), |_| None);
    assert!(matches!(
        unknown,
        Err(WriteError::Unfit(Unfit::Kind { .. }))
    ));
    let bytes = written(&handed);
    let lacks = pair.next().resume(Cursor::new(bytes.clone())).await;
    assert!(matches!(lacks, Err(ResumeError::Unfit(Unfit::Kind { .. }))));
    let other = pair.next().kind::<Other>("counter");
    let other = other.resume(Cursor::new(bytes.clone())).await;
    let Err(ResumeError::Unfit(Unfit::Schema { found: 1, .. })) = other else {
        panic!("{other:?}");
    };
    let short = Cursor::new(bytes[..bytes.len() - 1].to_vec());
    let short = pair.next().kind::<Counter>("counter").resume(short).await;
    assert!(
        matches!(short, Err(ResumeError::Unreadable(_))),
        "{short:?}"
    );
    let shards = pair.next().shards(17).kind::<Counter>("counter");
    let shards = shards.resume(Cursor::new(bytes)).await;
    assert!(matches!(shards, Err(ResumeError::Shards { .. })));
    handed.go_on().await;
    assert_eq!(pair.call("c0", Ask::Count).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_come_to_rest_in_time_serves_on() {
    let pair = Pair::start(2).await;
    let slow = {
        let b = pair.b.clone();
        let ask = Ask::Slowly(1500);
        tokio::spawn(async move { b.call_within::<Counter>("c0", ask, PATIENCE).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    let rested = pair.a.hand_over(Duration::from_millis(50)).await;
    let said = rested.expect_err("it is at a message").to_string();
    assert!(said.contains("c0"), "{said}");
    assert_eq!(pair.call("c1", Ask::Count).await, 1);
    assert_eq!(slow.await.unwrap().unwrap(), 1);
}
