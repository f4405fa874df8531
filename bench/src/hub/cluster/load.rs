//! Clients that add to a counter each, one call after the other, and remember what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handover_hub::Hub;
use handover_hub_proto::identity::{NodeId, ProcessId};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::node::{Add, Counter, id, micros};
use super::{CLIENTS, PACE};

/// What one client saw.
struct Seen {
    number: u64,
    /// Where its counter was at first.
    host: Option<NodeId>,
    /// The value at first.
    base: Option<u64>,
    acknowledged: u64,
    failed: u64,
    longest: Duration,
}

/// Clients at work.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

impl Load {
    /// Each client has a counter of its own among so many.
    pub(super) fn begin(hub: &Hub, children: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS)
            .map(|client| {
                let number = client * children / CLIENTS;
                tokio::spawn(work(hub.clone(), number, stop.clone()))
            })
            .collect();
        Self { stop, clients }
    }

    /// Whether a client has this counter among so many.
    pub(super) fn uses(number: u64, children: u64) -> bool {
        let client = (number * CLIENTS).div_ceil(children);
        client < CLIENTS && client * children / CLIENTS == number
    }

    /// Lets them finish, then compares.
    pub(super) async fn end(self, hub: &Hub) -> Value {
        self.stop.store(true, Ordering::Relaxed);
        let (mut calls, mut failed, mut lost, mut doubled) = (0, 0, 0, 0);
        let (mut pauses, mut others) = (Vec::new(), Vec::new());
        for client in self.clients {
            let Ok(seen) = client.await else {
                failed += 1;
                continue;
            };
            calls += seen.acknowledged;
            failed += seen.failed;
            let value = hub.call::<Counter>(&id(seen.number), Add(0)).await.ok();
            let (Some(base), Some(value)) = (seen.base, value) else {
                failed += 1;
                continue;
            };
            // A call that failed may have been applied.
            let found = value.saturating_sub(base);
            lost += seen.acknowledged.saturating_sub(found);
            doubled += found.saturating_sub(seen.acknowledged + seen.failed);
            let longest = micros(seen.longest);
            match host(hub, seen.number) == seen.host {
                true => others.push(longest),
                false => pauses.push(longest),
            }
        }
        json!({
            "calls": calls, "failed": failed, "lost": lost, "doubled": doubled,
            "pauses_us": pauses, "others_us": others,
        })
    }
}

fn host(hub: &Hub, number: u64) -> Option<NodeId> {
    let id = ProcessId::new(&id(number)).ok()?;
    hub.whereis(&id).map(|host| host.node)
}

async fn work(hub: Hub, number: u64, stop: Arc<AtomicBool>) -> Seen {
    let id = id(number);
    let mut seen = Seen {
        number,
        host: host(&hub, number),
        base: hub.call::<Counter>(&id, Add(0)).await.ok(),
        acknowledged: 0,
        failed: 0,
        longest: Duration::ZERO,
    };
    let mut turns: Interval = interval(PACE);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::Relaxed) {
        turns.tick().await;
        let begun = Instant::now();
        match hub.call::<Counter>(&id, Add(1)).await {
            Ok(_) => seen.acknowledged += 1,
            Err(_) => seen.failed += 1,
        }
        seen.longest = seen.longest.max(begun.elapsed());
    }
    seen
}
