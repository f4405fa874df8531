//! What is counted from events.

use std::time::{Duration, Instant};

use handover_hub_proto::event::Event;

/// Counts since the node started.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    crashed: u64,
}

impl Tally {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            crashed: 0,
        }
    }

    pub(super) fn count(&mut self, event: &Event) {
        if let Event::Crashed { .. } = event {
            self.crashed += 1;
        }
    }

    pub(super) fn crashed(&self) -> u64 {
        self.crashed
    }

    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}
