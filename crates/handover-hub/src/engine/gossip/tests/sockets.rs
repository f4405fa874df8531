//! Over real sockets.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::identity::ShardId;
use handover_hub_proto::view::{Departure, EngineOrder};

use super::{Node, introduction, owner, quick, slow};
use crate::engine::gossip::{Gossip, Pace};
use crate::transport::remote::{Remote, Settings, Timing};
use crate::transport::{Introduction, Security, Transport};

fn settings() -> Settings {
    Settings {
        timing: Timing {
            ping: Duration::from_millis(200),
            silence: Duration::from_millis(500),
            ..Timing::default()
        },
        ..Settings::default()
    }
}

async fn start(number: u64, socket: TcpListener, seed: &str, pace: Pace) -> (Node, Arc<Remote>) {
    let who = Introduction {
        address: String::new(),
        agreement: Default::default(),
        ..introduction(number, &format!("n{number}"))
    };
    let (remote, incoming) = Remote::listen(who, socket, Security::Loopback, settings()).unwrap();
    let transport: Arc<dyn Transport> = remote.clone();
    let node = Node::on(transport, incoming, Gossip::seeds([seed]).pace(pace)).await;
    (node.unwrap(), remote)
}

fn socket() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn nodes_join_leave_and_die() {
    let first = socket();
    // The seed is named as people do it.
    let seed = format!("localhost:{}", first.local_addr().unwrap().port());
    let pace = slow();
    let (a, _remote_a) = start(1, first, &seed, pace.clone()).await;
    let (b, _remote_b) = start(2, socket(), &seed, pace.clone()).await;
    let (c, remote_c) = start(3, socket(), &seed, pace.clone()).await;
    for node in [&a, &b, &c] {
        node.knows(&[&a, &b, &c]).await;
    }
    c.claim(&[1], None).await;
    a.owns(1, owner(&c, 1)).await;
    b.owns(1, owner(&c, 1)).await;

    // Dropped without a word, its sockets close as those of a killed process do.
    let id = c.id;
    drop((c, remote_c));
    a.gone(id, Departure::Lost).await;
    b.gone(id, Departure::Lost).await;

    b.orders.send(EngineOrder::Leave).await.unwrap();
    a.gone(b.id, Departure::Left).await;
    assert_eq!(a.view().owners[&ShardId(1)].node, id);
}

#[tokio::test]
async fn a_node_whose_sockets_stand_still_is_lost_and_comes_back() {
    // A node whose runtime is stopped, as by SIGSTOP: its kernel goes on accepting.
    let first = socket();
    let seed = first.local_addr().unwrap().to_string();
    let (a, _remote_a) = start(1, first, &seed, quick()).await;
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let kept = runtime.block_on(async {
            let kept = start(2, socket(), &seed, quick()).await;
            kept.0
                .until("knew the seed", |view| view.members.len() == 2)
                .await;
            kept
        });
        ready.send(kept.0.id).unwrap();
        // Nothing runs here until it is told to go on.
        goes_on.recv().unwrap();
        let _ = runtime.block_on(ends);
    });
    let b = is_ready.await.unwrap();
    a.gone(b, Departure::Lost).await;
    go_on.send(()).unwrap();
    a.until("had it back", |view| view.members.contains_key(&b))
        .await;
    end.send(()).unwrap();
    tokio::task::spawn_blocking(move || thread.join())
        .await
        .unwrap()
        .unwrap();
}

/// Run with `--release -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints figures"]
async fn the_cost_of_idling() {
    const NODES: u64 = 20;
    const TIME: Duration = Duration::from_secs(20);
    let first = socket();
    let seed = first.local_addr().unwrap().to_string();
    let patient = || Settings::default();
    let mut nodes = Vec::new();
    let mut sockets = vec![first];
    sockets.extend((1..NODES).map(|_| socket()));
    for (number, socket) in (1..).zip(sockets) {
        let who = Introduction {
            address: String::new(),
            agreement: Default::default(),
            ..introduction(number, &format!("n{number}"))
        };
        let (remote, incoming) =
            Remote::listen(who, socket, Security::Loopback, patient()).unwrap();
        let transport: Arc<dyn Transport> = remote.clone();
        let node = Node::on(transport, incoming, Gossip::seeds([seed.as_str()])).await;
        nodes.push((node.unwrap(), remote));
    }
    let all: Vec<_> = nodes.iter().map(|(node, _)| node).collect();
    for node in &all {
        node.knows(&all).await;
    }
    // All shards have owners, so that everybody publishes what it has.
    for (index, node) in (0_u16..).zip(&all) {
        let own: Vec<_> = (0..super::SHARDS)
            .filter(|shard| shard % NODES as u16 == index)
            .collect();
        node.claim(&own, None).await;
    }
    let sum = || {
        let counts = nodes.iter().map(|(_, remote)| remote.counts());
        counts.fold((0, 0), |(sent, bytes), counts| {
            (sent + counts.sent, bytes + counts.bytes)
        })
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let spent = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = |time: rustix::time::Timespec| time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    let (before, used) = (sum(), seconds(spent()));
    tokio::time::sleep(TIME).await;
    let (after, used) = (sum(), seconds(spent()) - used);
    let each = |total: u64| total as f64 / TIME.as_secs_f64() / NODES as f64;
    println!(
        "each of {NODES} nodes: {:.1} messages a second, {:.0} bytes a second, {:.3} % of a processor",
        each(after.0 - before.0),
        each(after.1 - before.1),
        used / TIME.as_secs_f64() / NODES as f64 * 100.0
    );
    for node in &all {
        assert!(node.view().gone.is_empty());
    }
}
