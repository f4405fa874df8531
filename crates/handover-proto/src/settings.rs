//! Deadlines and policies of a coordinator. Durations; a zero deadline means "at once".

use core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::phase::Mode;

/// The drain ladder of a retiring instance: what happens when, counted from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ladder {
    /// Keeps accepting this long after it was announced that it will stop (load balancers).
    pub announce: Duration,
    /// Then, this long, it answers with "please reconnect" and lets idle connections be.
    pub notify: Duration,
    /// Then, this long, requests in flight may finish and idle connections are closed. What is
    /// left is cut.
    pub grace: Duration,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            announce: Duration::ZERO,
            notify: Duration::from_secs(5),
            grace: Duration::from_secs(30),
        }
    }
}

impl Ladder {
    /// The longest a drain can take.
    #[must_use]
    pub const fn total(&self) -> Duration {
        self.announce
            .saturating_add(self.notify)
            .saturating_add(self.grace)
    }
}

/// When and how often a crashed instance is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Backoff {
    /// Pause before the second start in a row; the first is immediate. Doubles from there.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// Crashes within `window` after which the coordinator gives up.
    pub limit: u32,
    /// See `limit`; an instance that outlives it clears the count.
    pub window: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            most: Duration::from_secs(10),
            limit: 5,
            window: Duration::from_secs(60),
        }
    }
}

/// Everything a coordinator decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// Overlap or exclusive.
    pub mode: Mode,
    /// From spawn until warm (exclusive) or ready (overlap).
    pub ready: Duration,
    /// Exclusive: from drain asked until drained.
    pub drain: Duration,
    /// Exclusive: from seal asked until sealed.
    pub seal: Duration,
    /// Exclusive: from activate until ready.
    pub activate: Duration,
    /// From resume asked until resumed.
    pub resume: Duration,
    /// Exclusive: the longest dark window that is not aborted.
    pub max_dark: Option<Duration>,
    /// How retiring instances drain.
    pub ladder: Ladder,
    /// Between SIGTERM and SIGKILL of an instance that must go.
    pub kill_after: Duration,
    /// How long the old instance is kept able to take back after commit. Zero: not at all.
    pub probation: Duration,
    /// A new version that crashes within this time of its commit is replaced by the previous one.
    pub fall_back: Duration,
    /// Restarts after crashes.
    pub backoff: Backoff,
    /// Somebody is there who mends what fails, as in development: after a start that failed, or a
    /// crash, nobody serves until the next request. Nothing is started again unasked, and nothing
    /// is given up.
    #[serde(default)]
    pub attended: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Overlap,
            ready: Duration::from_secs(30),
            drain: Duration::from_secs(60),
            seal: Duration::from_secs(60),
            activate: Duration::from_secs(60),
            resume: Duration::from_secs(10),
            max_dark: None,
            ladder: Ladder::default(),
            kill_after: Duration::from_secs(5),
            probation: Duration::ZERO,
            fall_back: Duration::from_secs(10),
            backoff: Backoff::default(),
            attended: false,
        }
    }
}

/// What to do with a request that comes while an attempt runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenBusy {
    /// Run it afterwards; only the newest waiting request is kept.
    #[default]
    Queue,
    /// Abandon the running attempt, then run this one.
    Supersede,
    /// Refuse it.
    Fail,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// Drain by the ladder, then go.
    Drain,
    /// SIGTERM, then SIGKILL after [`Settings::kill_after`].
    Fast,
    /// SIGKILL.
    Now,
}
