//! A node that does nothing but hold its lease in an etcd, and say all the time whether it may act.
//!
//! `etcd-node ENDPOINT HUB LEASE_SECONDS`: claims shard 0, then prints one line a millisecond: the
//! moment of `CLOCK_BOOTTIME` in nanoseconds, and whether it may act. The moment is taken first.

#![forbid(unsafe_code)]

use std::io::Write as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use handover_hub::engine::etcd::Etcd;
use handover_hub::engine::{Boottime, Charter, Engine as _, Post, Session, Validity};
use handover_hub_proto::identity::{HubName, NodeId, NodeName, ShardId};
use handover_hub_proto::node::Agreement;
use handover_hub_proto::view::{Claim, EngineEvent, EngineOrder, Load, Member, Standing};

const SHARDS: u16 = 64;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, hub, seconds] = arguments.as_slice() else {
        panic!("etcd-node ENDPOINT HUB LEASE_SECONDS");
    };
    let lease = Duration::from_secs(seconds.parse().expect("a number"));
    let engine = Box::new(Etcd::connect([endpoint]).lease(lease));
    let me = Member {
        id: NodeId(1),
        name: NodeName::new("stopped").expect("a name"),
        address: "127.0.0.1:1".to_owned(),
        weight: 100,
        version: "1".to_owned(),
        joined_ms: 0,
        standing: Standing::Serving,
        load: Load::default(),
    };
    let hub = Charter {
        hub: HubName::new(hub).expect("a name"),
        shards: SHARDS,
        agreement: Agreement::default(),
    };
    let joined = engine.start(me, hub, Post::new().0).await;
    let mut session = joined.expect("etcd is there");
    let claim = Claim {
        shard: ShardId(0),
        over: None,
    };
    let order = EngineOrder::Claim(vec![claim]);
    session.orders.send(order).await.expect("the engine runs");
    say_whether(Arc::clone(&session.valid));
    acknowledge(&mut session).await;
}

/// What a driver does: everything stands still when it is told to.
async fn acknowledge(session: &mut Session) {
    while let Some(event) = session.events.recv().await {
        if event == EngineEvent::Fenced {
            session.valid.acknowledge();
        }
    }
}

fn say_whether(valid: Arc<Validity>) {
    thread::spawn(move || {
        let mut output = std::io::stdout().lock();
        loop {
            let now = Boottime::now();
            let holds = valid.holds();
            if writeln!(output, "{} {holds}", now.0).is_err() {
                std::process::exit(0);
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
}
