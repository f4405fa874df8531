//! Whether a process that ended by itself is started again.

use alloc::collections::VecDeque;
use core::time::Duration;

use handover_proto::moment::Moment;
use serde::{Deserialize, Serialize};

use crate::spec::Restart;

/// How often crashes are forgiven. ProcessHub's defaults: 100 in 4 s, counted for all children of a
/// node together, which all end when it is exceeded. Here each process has a count of its own, so
/// that one in a loop of crashes takes no other with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intensity {
    /// Restarts that are forgiven; zero forgives none.
    pub restarts: u32,
    /// Within this time.
    pub within: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts: 100,
            within: Duration::from_secs(4),
        }
    }
}

/// How a process ended that nobody stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It said that it is done.
    Done,
    /// It panicked or failed.
    Crash,
}

/// What follows when a process ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sequel {
    /// It is started again on its node.
    Again,
    /// It ended for good, as its policy says.
    Over,
    /// It should be started again, and crashed too often for that.
    TooOften,
}

/// The latest restarts of one process. Takes no memory before the first.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    latest: VecDeque<Moment>,
}

impl Restarts {
    /// What follows when the process ended. A restart is counted.
    ///
    /// That a process which is done is started again ([`Restart::Permanent`]) counts as well: one
    /// that ends at once is in a loop like one that crashes at once.
    pub fn ended(
        &mut self,
        now: Moment,
        end: End,
        restart: Restart,
        intensity: Intensity,
    ) -> Sequel {
        match (restart, end) {
            (Restart::Permanent, End::Done | End::Crash) | (Restart::Transient, End::Crash) => {}
            (Restart::Transient, End::Done) | (Restart::Temporary, End::Done | End::Crash) => {
                return Sequel::Over;
            }
        }
        let past = |earlier: &Moment| now.since(*earlier) > intensity.within;
        while self.latest.front().is_some_and(past) {
            self.latest.pop_front();
        }
        if self.latest.len() >= usize::try_from(intensity.restarts).unwrap_or(usize::MAX) {
            return Sequel::TooOften;
        }
        self.latest.push_back(now);
        Sequel::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_policy_says_who_is_started_again() {
        for (restart, done, crash) in [
            (Restart::Permanent, Sequel::Again, Sequel::Again),
            (Restart::Transient, Sequel::Over, Sequel::Again),
            (Restart::Temporary, Sequel::Over, Sequel::Over),
        ] {
            for (end, sequel) in [(End::Done, done), (End::Crash, crash)] {
                let mut restarts = Restarts::default();
                let said = restarts.ended(at(0), end, restart, Intensity::default());
                assert_eq!(said, sequel, "{restart:?} {end:?}");
            }
        }
    }

    #[test]
    fn a_loop_of_crashes_ends_and_a_rare_crash_does_not_count() {
        let mut restarts = Restarts::default();
        let mut crash =
            |ms| restarts.ended(at(ms), End::Crash, Restart::Permanent, Intensity::default());
        for n in 0..100 {
            assert_eq!(crash(n), Sequel::Again, "{n}");
        }
        assert_eq!(crash(100), Sequel::TooOften);
        assert_eq!(crash(4_000), Sequel::TooOften);
        assert_eq!(crash(4_001), Sequel::Again);
        for n in 1..1_000 {
            assert_eq!(crash(4_001 + n * 50), Sequel::Again, "{n}");
        }
    }

    #[test]
    fn nothing_is_forgiven_where_nothing_should_be() {
        let none = Intensity {
            restarts: 0,
            within: Duration::from_secs(1),
        };
        let said = Restarts::default().ended(at(9), End::Crash, Restart::Permanent, none);
        assert_eq!(said, Sequel::TooOften);
    }
}
