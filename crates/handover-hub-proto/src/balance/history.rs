//! What a member's score was of late.

use alloc::collections::VecDeque;

use super::Score;

/// Samples that are kept.
pub(super) const SAMPLES: usize = 30;

/// The scores of one member, the latest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    samples: VecDeque<Score>,
    since_shift: u16,
}

impl History {
    pub(super) fn push(&mut self, score: Score) {
        self.samples.truncate(SAMPLES - 1);
        self.samples.push_front(score);
        self.since_shift = self.since_shift.saturating_add(1);
    }

    /// The mean, in which each sample weighs nine tenths of the one after it.
    pub(super) fn decayed(&self) -> Score {
        let (mut weight, mut weights, mut sum) = (1_u64 << 32, 0, 0);
        for sample in &self.samples {
            sum += weight * u64::from(*sample);
            weights += weight;
            weight = weight * 9 / 10;
        }
        let mean = sum.checked_div(weights).unwrap_or(0);
        Score::try_from(mean).unwrap_or(Score::MAX)
    }

    /// Samples since it was added, or since a shift.
    pub(super) const fn since_shift(&self) -> u16 {
        self.since_shift
    }

    /// Processes were moved to or from it: what was measured before says little.
    pub(super) fn shifted(&mut self) {
        self.samples.clear();
        self.since_shift = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_samples_weigh_more_and_old_ones_are_dropped() {
        let mut history = History::default();
        assert_eq!(history.decayed(), 0);
        history.push(1000);
        assert_eq!(history.decayed(), 1000);
        history.push(0);
        // 0.9 ÷ 1.9
        assert_eq!(history.decayed(), 473);
        for _ in 0..SAMPLES {
            history.push(500);
        }
        assert_eq!(history.decayed(), 500);
        assert_eq!(history.samples.len(), SAMPLES);
    }
}
