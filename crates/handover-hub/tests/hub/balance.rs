//! Children run where there is least to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use handover_hub::proto::balance::{Balancing, Shifting};
use handover_hub::proto::event::Event;
use handover_hub::proto::hook::Hook;
use handover_hub::proto::placement::Distribution;
use handover_hub::{Hub, Occasion, Scope};

use crate::world::{Ask, Counter, World, counter, until};

const EVERY: Duration = Duration::from_millis(200);

fn balancing() -> Distribution {
    Distribution::LoadBalanced(Balancing {
        every: EVERY,
        stale: Duration::from_secs(10),
        queued: 50,
        shifting: Some(Shifting {
            limit: 5,
            ..Shifting::default()
        }),
    })
}

/// What all nodes were told together.
#[derive(Default)]
struct Told {
    boards: AtomicUsize,
    moved: AtomicUsize,
    /// How far apart the busiest node and the idlest one were on the last board.
    apart: AtomicUsize,
    /// How many boards there had been at the last move.
    last: AtomicUsize,
}

impl Told {
    /// Waits until nodes have so many boards more, and one.
    async fn more_boards(&self, count: usize) {
        let boards = self.boards.load(Relaxed);
        until("boards are made", || {
            self.boards.load(Relaxed) > boards + count
        })
        .await;
    }

    fn quiet(&self) -> usize {
        self.boards.load(Relaxed) - self.last.load(Relaxed)
    }
}

async fn balanced(world: &World, name: &str, told: &Arc<Told>) -> Hub {
    let heard = Arc::clone(told);
    let call = Arc::new(move |_: Hook, occasion: &Occasion| {
        if let Occasion::Event(Event::Scored { scores, .. }) = occasion {
            let scores = scores.iter().map(|(_, score)| usize::from(*score));
            let most = scores.clone().max().unwrap_or(0);
            heard.apart.store(most - scores.min().unwrap_or(0), Relaxed);
            heard.boards.fetch_add(1, Relaxed);
        } else {
            heard.moved.fetch_add(1, Relaxed);
            heard.last.store(heard.boards.load(Relaxed), Relaxed);
        }
    });
    let builder = world.builder(name).distribution(balancing());
    let builder = builder.measured(Duration::from_millis(50));
    let builder = builder.hook(Hook::Scores, "boards", 0, call.clone());
    let builder = builder.hook(Hook::Moved, "moves", 0, call);
    builder.start().await.expect("the node starts")
}

fn die(world: &World, hub: &Hub) {
    world.authority.cut(hub.node());
    world.network.kill(hub.node());
    world.authority.expire(hub.node());
}

/// How many children each node runs, by the rows that a node knows.
fn counts(hub: &Hub) -> BTreeMap<String, usize> {
    let names = hub.nodes().into_iter();
    let mut counts: BTreeMap<String, usize> = names.map(|n| (n.name.to_string(), 0)).collect();
    for row in hub.list(Scope::Hub) {
        for host in row.hosts() {
            if let Some(member) = hub.member(host.node) {
                *counts.entry(member.name.to_string()).or_default() += 1;
            }
        }
    }
    counts
}

/// Keeps some children busy, with calls that wait for them, until it is told to stop.
fn keep_busy(hub: &Hub, ids: &[&str], done: &Arc<AtomicBool>) {
    for id in ids {
        for _ in 0..100 {
            let (hub, id, done) = (hub.clone(), (*id).to_owned(), Arc::clone(done));
            tokio::spawn(async move {
                while !done.load(Relaxed) {
                    let _ = hub.call::<Counter>(&id, Ask::Sleep(20)).await;
                }
            });
        }
    }
}

async fn start(hub: &Hub, from: u64, to: u64) {
    let children = (from..to).map(|n| counter(&format!("c{n}"), n));
    let started = hub.start_children(children, Default::default()).await;
    assert_eq!(started.unwrap().failed, []);
}

async fn all_know_all(hubs: &[Hub]) {
    until("all know all", || {
        hubs.iter().all(|hub| hub.nodes().len() == 3)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn children_go_where_there_is_least_to_do() {
    let (world, told) = (World::default(), Arc::<Told>::default());
    let hubs = [
        balanced(&world, "a", &told).await,
        balanced(&world, "b", &told).await,
        balanced(&world, "c", &told).await,
    ];
    let [a, b, c] = &hubs;
    all_know_all(&hubs).await;
    start(a, 0, 60).await;

    // What is pinned to b has long mailboxes; all nodes see that.
    let busy = ["busy0", "busy1", "busy2", "busy3"];
    for id in busy {
        a.start_child(counter(id, 0).pinned(["b"])).await.unwrap();
    }
    let done = Arc::new(AtomicBool::new(false));
    keep_busy(a, &busy, &done);
    until("all see that b is busy", || {
        let load = |hub: &Hub, of: &Hub| hub.member(of.node()).map(|member| member.load);
        hubs.iter().all(|hub| {
            load(hub, b).is_some_and(|load| load.queued > 100)
                && load(hub, c).is_some_and(|load| load.is_known())
        })
    })
    .await;

    // New ones avoid b, before shifts have made up for its load.
    until("boards say so", || told.apart.load(Relaxed) > 200).await;
    told.more_boards(2).await;
    let first = counts(a);
    start(a, 60, 660).await;
    let after = counts(a);
    let new = |node: &str| after[node].saturating_sub(first[node]);
    assert!(
        new("b") < new("a") && new("b") < new("c"),
        "{first:?} {after:?}"
    );

    // Others are shifted away, a few at a time, and then no more.
    until("b has fewer", || counts(a)["b"] < after["b"]).await;
    until("nothing moves any more", || told.quiet() > 90).await;
    assert!(told.moved.load(Relaxed) <= 660, "each moves once at most");

    // The oldest, which makes the boards, dies; another one does.
    done.store(true, Relaxed);
    die(&world, a);
    until("a is gone", || c.nodes().len() == 2).await;
    until("all run", || {
        let rows = c.list(Scope::Hub).into_iter();
        let run = rows.filter(|row| {
            let active = row.active();
            active.is_some_and(|host| [b, c].iter().any(|hub| hub.node() == host.node))
        });
        run.count() == 664
    })
    .await;
    told.more_boards(4).await;
    for n in 0..660 {
        let reply = c.call::<Counter>(&format!("c{n}"), Ask::Read).await;
        assert!(reply.is_ok(), "{reply:?}");
    }
}
