//! One event type to everyone: kept for late readers, sent live, logged, counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use handover_proto::event::{Event, EventKind};
use tokio::sync::broadcast;

use super::telemetry::Telemetry;

/// Events kept for readers that come late: a busy upgrade has about 20, so this is the last fifty
/// upgrades, in well under a megabyte.
const KEPT: usize = 1024;

#[derive(Debug, Default)]
struct Kept {
    last_seq: u64,
    events: VecDeque<Arc<Event>>,
}

/// Where events go. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Bus {
    kept: Arc<Mutex<Kept>>,
    live: broadcast::Sender<Arc<Event>>,
    telemetry: Arc<Telemetry>,
}

/// A reader of events. It ends when the supervisor does.
#[derive(Debug)]
pub struct Subscription {
    kept: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
}

impl Bus {
    pub(super) fn new() -> Self {
        let (live, _) = broadcast::channel(KEPT);
        Self {
            kept: Arc::default(),
            live,
            telemetry: Arc::new(Telemetry::new()),
        }
    }

    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    pub(super) fn publish(&self, kind: EventKind) {
        self.telemetry.count(&kind);
        let mut kept = lock(&self.kept);
        kept.last_seq += 1;
        let event = Arc::new(Event {
            seq: kept.last_seq,
            unix_ms: unix_ms(),
            kind,
        });
        tracing::info!(target: "handover", event = event.kind.name(), "{}", event.kind);
        if kept.events.len() == KEPT {
            kept.events.pop_front();
        }
        kept.events.push_back(Arc::clone(&event));
        // Nobody listening is no fault. Sent under the lock, so that live order is kept order.
        let _ = self.live.send(event);
    }

    pub(super) fn warn(&self, text: impl Into<String>) {
        self.publish(EventKind::Warning { text: text.into() });
    }

    /// Everything after `since` that is still kept, then everything live.
    pub(super) fn subscribe(&self, since: u64) -> Subscription {
        let kept = lock(&self.kept);
        let events = kept
            .events
            .iter()
            .filter(|event| event.seq > since)
            .cloned()
            .collect();
        Subscription {
            kept: events,
            live: self.live.subscribe(),
        }
    }
}

impl Subscription {
    /// The next event; `None` when the supervisor is gone. A reader that is too slow misses
    /// events and sees a gap in `seq`. Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        if let Some(event) = self.kept.pop_front() {
            return Some(event);
        }
        loop {
            match self.live.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wall clock in milliseconds, for people.
pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
