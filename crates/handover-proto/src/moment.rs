//! Time as a machine sees it: a number it is told.

use core::ops::Add;
use core::time::Duration;

/// Nanoseconds on a monotonic clock whose origin only the driver knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The clock's origin.
    pub const ZERO: Self = Self(0);

    /// The moment `nanos` nanoseconds after the origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time elapsed since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: a deadline too far to express is never reached.
    fn add(self, by: Duration) -> Self {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// A machine: told what happened and the time; answers with effects.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Effect;

    /// Takes one input. Never blocks, never fails.
    fn handle(&mut self, now: Moment, input: Self::Input);

    /// The next effect, in the order the driver must execute them.
    fn poll_effect(&mut self) -> Option<Self::Effect>;

    /// When the driver must say that time has passed (a `Tick` input), if ever.
    fn next_deadline(&self) -> Option<Moment>;
}
