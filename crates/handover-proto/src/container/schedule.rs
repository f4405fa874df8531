//! When something that is repeated is due.

use super::settings::Rhythm;
use crate::moment::Moment;

/// A repetition that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    rhythm: Rhythm,
    sent: u32,
    due: Moment,
}

impl Schedule {
    /// Due at once, then by `rhythm`.
    #[must_use]
    pub const fn new(rhythm: Rhythm, now: Moment) -> Self {
        let sent = 0;
        let due = now;
        Self { rhythm, sent, due }
    }

    /// When it is due next.
    #[must_use]
    pub const fn due(&self) -> Moment {
        self.due
    }

    /// Whether it is due; if so, the next time is set.
    pub fn take(&mut self, now: Moment) -> bool {
        let due = now >= self.due;
        if due {
            self.due = now + self.rhythm.pause(self.sent);
            self.sent = self.sent.saturating_add(1);
        }
        due
    }

    /// Makes it due at `at`, if it would be later. Nothing else about its rhythm changes.
    pub fn hasten(&mut self, at: Moment) {
        self.due = self.due.min(at);
    }
}
