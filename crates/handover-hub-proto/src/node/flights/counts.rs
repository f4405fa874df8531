//! Moves that have ended, counted.

use handover_proto::moment::Moment;

use super::{Ordered, Pause, millis};

/// The window over which moves a second are counted.
const SECONDS: u64 = 10;

/// What a node ordered since it began.
pub(crate) struct Counts {
    began: Moment,
    moved: u64,
    failed: u64,
    deferred: u64,
    last: Option<(Moment, u64)>,
    /// Moves that ended in each of the last seconds, by the second modulo their number.
    ended: [(u64, u64); SECONDS as usize],
}

impl Counts {
    pub(super) const fn new(now: Moment) -> Self {
        Self {
            began: now,
            moved: 0,
            failed: 0,
            deferred: 0,
            last: None,
            ended: [(0, 0); SECONDS as usize],
        }
    }

    /// A move came to its end.
    pub(crate) fn moved(&mut self, now: Moment, pause_ns: u64) {
        self.moved += 1;
        self.last = Some((now, pause_ns));
        let second = self.second(now);
        let slot = usize::try_from(second % SECONDS).unwrap_or(0);
        if self.ended[slot].0 != second {
            self.ended[slot] = (second, 0);
        }
        self.ended[slot].1 += 1;
    }

    /// One did not.
    pub(crate) const fn failed(&mut self) {
        self.failed += 1;
    }

    /// A process wished to be moved later.
    pub(crate) const fn deferred(&mut self) {
        self.deferred += 1;
    }

    /// From 1, so that no slot is taken for the first second's.
    fn second(&self, now: Moment) -> u64 {
        now.since(self.began).as_secs() + 1
    }

    /// All but what is under way.
    pub(super) fn at(&self, now: Moment) -> Ordered {
        let second = self.second(now);
        let recent = self.ended.iter();
        let recent = recent.filter(|(at, _)| *at + SECONDS > second && *at > 0);
        let ended: u64 = recent.map(|(_, count)| count).sum();
        Ordered {
            moved: self.moved,
            failed: self.failed,
            deferred: self.deferred,
            rate: ended.saturating_mul(1_000) / second.min(SECONDS),
            last: self.last.map(|(at, pause_ns)| Pause {
                pause_ns,
                ago_ms: millis(now.since(at)),
            }),
            ..Ordered::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(77) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_move_is_counted_when_it_ends_either_way() {
        let mut counts = Counts::new(at(0));
        counts.moved(at(2), 900);
        counts.failed();
        counts.deferred();
        let said = counts.at(at(5));
        assert_eq!((said.moved, said.failed, said.deferred), (1, 1, 1));
        let last = Pause {
            pause_ns: 900,
            ago_ms: 3_000,
        };
        assert_eq!(said.last, Some(last));
    }

    #[test]
    fn moves_a_second_are_those_of_the_window_and_no_older() {
        let mut counts = Counts::new(at(0));
        for _ in 0..50 {
            counts.moved(at(20), 1);
        }
        let rate = |seconds| counts.at(at(seconds)).rate;
        assert_eq!([rate(20), rate(29), rate(30)], [5_000, 5_000, 0]);
    }

    #[test]
    fn a_node_that_has_just_begun_counts_over_its_own_time() {
        let mut counts = Counts::new(at(0));
        for _ in 0..6 {
            counts.moved(at(1), 1);
        }
        assert_eq!(counts.at(at(1)).rate, 3_000);
    }
}
