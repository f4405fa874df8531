//! What the machine of a container decides by.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// What to do about peers of `handover-lib`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Legacy {
    /// Announce to them, and drain for a younger one. Anybody on the network can forge one.
    Obey,
    /// Announce to them, and drain for none.
    Announce,
    /// Neither.
    Off,
}

impl Legacy {
    /// What is sensible: a key would be of no use beside datagrams that anybody can forge.
    #[must_use]
    pub const fn sensible(has_key: bool) -> Self {
        if has_key { Self::Announce } else { Self::Obey }
    }
}

/// When something is repeated: fast at first, each pause longer by a factor, then settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rhythm {
    /// The pause after the first time.
    pub first: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: u32,
    /// How many pauses are fast.
    pub fast: u32,
    /// All pauses after them.
    pub settled: Duration,
}

impl Rhythm {
    /// The same pause each time.
    #[must_use]
    pub const fn steady(every: Duration) -> Self {
        Self {
            first: every,
            factor: 1,
            fast: 0,
            settled: every,
        }
    }

    /// The pause after the time `sent`, counted from 0.
    #[must_use]
    pub fn pause(&self, sent: u32) -> Duration {
        if sent >= self.fast {
            return self.settled;
        }
        self.first
            .saturating_mul(self.factor.saturating_pow(sent))
            .min(self.settled)
    }
}

/// Everything a machine decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// What to do about legacy peers.
    pub legacy: Legacy,
    /// How long an old instance that is drained stays able to come back. Zero: until the young one
    /// says for the first time that it heard.
    pub probation: Duration,
    /// After so long without a word the other counts as gone.
    pub silence: Duration,
    /// Whether a program that was drained can be started again.
    pub can_resume: bool,
    /// Announcements of version 3.
    pub announce: Rhythm,
    /// Announcements to legacy peers.
    pub announce_legacy: Rhythm,
    /// A question to a candidate.
    pub ask: Rhythm,
    /// After so long without an answer a candidate is given up, until it announces itself again.
    pub ask_for: Duration,
    /// What is said to show that one is there.
    pub heartbeat: Duration,
    /// How long a legacy announcement waits for the one of version 3 that makes it an echo.
    pub echo: Duration,
    /// How far in the future a legacy announcement may lie, by the wall clock that both share.
    pub future: Duration,
    /// A young instance speaks to an old one that was not heard for so long no more.
    pub forget: Duration,
    /// Announcements that others ask for come no closer than this.
    pub least_pause: Duration,
    /// Refused datagrams are told of no more often than this.
    pub report_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            legacy: Legacy::Obey,
            probation: Duration::from_secs(10),
            silence: Duration::from_secs(5),
            can_resume: true,
            announce: Rhythm {
                first: Duration::from_millis(20),
                factor: 2,
                fast: 12,
                settled: Duration::from_secs(60),
            },
            // Theirs: every 10 s.
            announce_legacy: Rhythm {
                first: Duration::from_millis(100),
                factor: 4,
                fast: 4,
                settled: Duration::from_secs(30),
            },
            ask: Rhythm {
                first: Duration::from_millis(20),
                factor: 2,
                fast: 5,
                settled: Duration::from_millis(500),
            },
            ask_for: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            echo: Duration::from_millis(300),
            future: Duration::from_secs(1),
            forget: Duration::from_secs(60),
            least_pause: Duration::from_millis(20),
            report_every: Duration::from_secs(60),
        }
    }
}
