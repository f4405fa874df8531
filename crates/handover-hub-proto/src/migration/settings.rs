//! How long things take.

use core::time::Duration;

use handover_proto::moment::Moment;

/// How moves are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// From the order to prepare until the state has arrived; then the source goes on.
    pub timeout: Duration,
    /// After this time an order or a report that is still unanswered is said again.
    pub repeat: Duration,
    /// A process that deferred its move is asked again after this time.
    pub ask_again: Duration,
    /// A process that has deferred its move for so long is not asked any more.
    pub defer_at_most: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            repeat: Duration::from_secs(1),
            ask_again: Duration::from_secs(10),
            defer_at_most: Duration::from_secs(600),
        }
    }
}

/// A process that wants to be moved later: since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deferral {
    since: Moment,
    asked: Moment,
}

impl Deferral {
    /// It deferred for the first time.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        let (since, asked) = (now, now);
        Self { since, asked }
    }

    /// It deferred again.
    pub const fn again(&mut self, now: Moment) {
        self.asked = now;
    }

    /// When to order the next attempt, unless the process says before that it is ready.
    #[must_use]
    pub fn due(&self, settings: &Settings) -> Moment {
        (self.asked + settings.ask_again).min(self.since + settings.defer_at_most)
    }

    /// Whether an attempt made now no longer asks.
    #[must_use]
    pub fn is_over(&self, now: Moment, settings: &Settings) -> bool {
        now >= self.since + settings.defer_at_most
    }
}
