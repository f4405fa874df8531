//! Time as the load counts it: microseconds since its origin.

use std::time::{Duration, Instant};

/// Microseconds since the origin of the run.
pub(crate) type Micros = u64;

/// The one origin all clients of a run share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn starting_at(origin: Instant) -> Self {
        Self { origin }
    }

    /// 0 before the origin.
    pub(crate) fn now(&self) -> Micros {
        micros(self.origin.elapsed())
    }

    pub(crate) fn instant(&self, at: Micros) -> Instant {
        self.origin + Duration::from_micros(at)
    }
}

pub(crate) fn micros(duration: Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds, rounded to the microsecond so that reports stay short.
pub(crate) fn millis(at: Micros) -> f64 {
    at as f64 / 1_000.0
}
