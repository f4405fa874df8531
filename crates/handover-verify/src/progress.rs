//! What a live display shows.

use std::time::Duration;

/// Where a run is. Ten times a second, and at each change of phase.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Since the load began.
    pub elapsed: Duration,
    /// Requests answered or lost so far, of every client.
    pub requests: u64,
    /// Requests lost so far, of every client.
    pub failed: u64,
    /// Requests answered or lost per second, over the last second.
    pub rate: f64,
    /// The median latency of the last second, of `new` and `keep-alive`
    /// requests answered in it. 0 when none was.
    pub p50: Duration,
    /// 99 % of them were at most this.
    pub p99: Duration,
    /// The greatest of them.
    pub max: Duration,
    /// What is going on.
    pub phase: Phase,
    /// Something that happened since the last progress, in words: the first
    /// loss of a kind, the first answer by a new version, an upgrade's outcome.
    pub note: Option<String>,
}

/// The phase of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// Load before the first upgrade.
    #[default]
    Warming,
    /// An upgrade's trigger runs.
    Upgrading {
        /// Which one, from 1.
        n: u32,
        /// What the trigger calls it.
        label: String,
    },
    /// The pause between two upgrades.
    Between,
    /// Load after the last upgrade, and the wait for the last answers.
    Cooling,
}
