//! Whether a node may act.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment of `CLOCK_BOOTTIME`, in nanoseconds: it goes on while the machine sleeps and is never
/// stepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boottime(pub u64);

impl Boottime {
    /// Beyond every moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
        Self(seconds * 1_000_000_000 + nanoseconds)
    }

    /// This much later; [`NEVER`](Self::NEVER) where that cannot be said.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanoseconds))
    }

    /// How long it is until `later`; zero if that has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_nanos(later.0.saturating_sub(self.0))
    }
}

/// Whether a node may act, asked before every message that a process takes and before every reply
/// that leaves: a few nanoseconds, no lock.
///
/// The engine writes the deadline. A node that was stopped past it and goes on finds that it may
/// not act before it learns anything else. Once the deadline has passed it is not moved any more:
/// the engine has to [`fence`](Self::fence), whoever runs the processes has to take note by
/// [`acknowledge`](Self::acknowledge) after all of them stand still, and only then does a new
/// deadline count.
///
/// What it cannot cover is a stop between the question and the deed, a few instructions later. What
/// leaves a node there carries its epoch, by which a receiver tells it from what is current.
#[derive(Debug)]
pub struct Validity {
    /// In nanoseconds of `CLOCK_BOOTTIME`.
    until: AtomicU64,
    /// How often the engine fenced.
    fences: AtomicU64,
    /// How many of these have been acted on.
    acknowledged: AtomicU64,
}

impl Validity {
    /// May act up to this moment.
    #[must_use]
    pub fn new(until: Boottime) -> Self {
        Self {
            until: AtomicU64::new(until.0),
            fences: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// May always act: the engine promises no single owner.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(Boottime::NEVER)
    }

    /// Whether this node may act now.
    #[must_use]
    pub fn holds(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        // The order matters: a fence counts itself before it takes the deadline away, and a new
        // deadline is written after that.
        self.acknowledged.load(Ordering::Acquire) == self.fences.load(Ordering::Acquire)
            && (until == u64::MAX || Boottime::now().0 < until)
    }

    /// Up to when this node may act, as the engine last said.
    #[must_use]
    pub fn until(&self) -> Boottime {
        Boottime(self.until.load(Ordering::Acquire))
    }

    /// For the driver of the processes: one [`Fenced`](handover_hub_proto::view::EngineEvent) was
    /// acted on, and every process stands still. To be called once for each.
    pub fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
    }

    /// For engines: nothing may act any more. The engine says `Fenced` exactly once for each call,
    /// and after it.
    pub fn fence(&self) {
        self.fences.fetch_add(1, Ordering::AcqRel);
        self.until.store(0, Ordering::Release);
    }

    /// For engines: moves the deadline.
    ///
    /// Returns false, and changes nothing, when it has passed already: others may act by now, and
    /// the engine has to fence.
    #[must_use]
    pub fn renew(&self, until: Boottime) -> bool {
        let before = self.until.load(Ordering::Acquire);
        if before != u64::MAX && Boottime::now().0 >= before {
            return false;
        }
        self.until.fetch_max(until.0, Ordering::AcqRel);
        true
    }

    /// For engines: a deadline after a fence, before they say `Unfenced`.
    pub fn restore(&self, until: Boottime) {
        self.until.store(until.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Boottime, Validity};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_deadline_that_has_passed_is_not_moved() {
        let validity = Validity::new(Boottime::now());
        assert!(!validity.holds());
        assert!(!validity.renew(Boottime::now().after(HOUR)));
        assert!(!validity.holds());
    }

    #[test]
    fn a_deadline_is_moved_while_it_holds_and_never_back() {
        let far = Boottime::now().after(HOUR * 2);
        let validity = Validity::new(far);
        assert!(validity.renew(Boottime::now().after(HOUR)));
        assert_eq!(validity.until(), far);
        assert!(validity.holds());
    }

    #[test]
    fn a_new_deadline_counts_once_every_fence_was_acknowledged() {
        let validity = Validity::unlimited();
        assert!(validity.holds());
        validity.fence();
        validity.restore(Boottime::NEVER);
        validity.fence();
        validity.restore(Boottime::NEVER);
        validity.acknowledge();
        assert!(!validity.holds());
        validity.acknowledge();
        assert!(validity.holds());
    }

    #[test]
    fn acknowledged_alone_is_not_enough() {
        let validity = Validity::unlimited();
        validity.fence();
        validity.acknowledge();
        assert!(!validity.holds());
        validity.restore(Boottime::now().after(HOUR));
        assert!(validity.holds());
    }
}
