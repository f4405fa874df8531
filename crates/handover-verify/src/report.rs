//! What was found.

mod junit;
mod picture;
#[cfg(test)]
mod samples;
mod table;

use crate::error::ReportError;
use crate::latency::Latency;
use crate::loss::LossKind;
use crate::series::Series;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The format of [`Report`] as JSON. Fields are only ever added under it.
pub const FORMAT: u32 = 1;

/// A kind of load; each is a separate client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// A connection for each request, at a fixed rate.
    New,
    /// Kept-alive connections, at a fixed rate, never retried.
    KeepAlive,
    /// Requests to a slow path, a fixed number at any moment.
    Slow,
    /// Requests sent in two halves, a fixed number at any moment.
    Upload,
}

impl Load {
    /// All kinds, in the order reports show them.
    pub const ALL: [Self; 4] = [Self::New, Self::KeepAlive, Self::Slow, Self::Upload];

    /// As in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::KeepAlive => "keep-alive",
            Self::Slow => "slow",
            Self::Upload => "upload",
        }
    }

    /// Whether its requests are due at a fixed rate, whatever the answers do.
    #[must_use]
    pub fn is_paced(self) -> bool {
        matches!(self, Self::New | Self::KeepAlive)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The URL.
    pub target: String,
    /// From the first request due to the last answered.
    pub duration_ms: f64,
    /// Requests that were due, of every client.
    pub requests: u64,
    /// Of these, answered as expected.
    pub answered: u64,
    /// Of these, lost. `requests = answered + failed`, always.
    pub failed: u64,
    /// Latency of `new` and `keep-alive` requests outside upgrades.
    pub steady: Latency,
    /// Latency of `new` and `keep-alive` requests that were under way at any
    /// moment of an upgrade: from its trigger until it finished and
    /// `settle_ms` passed, or until the next trigger.
    pub during: Latency,
    /// The longest dark stretch outside upgrades, to compare
    /// [`Upgrade::dark_window_ms`] with.
    pub steady_dark_ms: f64,
    /// How long after its trigger finished an upgrade was watched.
    pub settle_ms: f64,
    /// What each client saw.
    pub clients: Vec<ClientReport>,
    /// What each upgrade did.
    pub upgrades: Vec<Upgrade>,
    /// The first lost request of each kind.
    pub examples: Vec<Example>,
    /// How well this machine could make the load.
    pub tester: Tester,
    /// Latency over time.
    pub series: Series,
}

/// What one client saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClientReport {
    /// Which client.
    pub load: Load,
    /// Requests that were due.
    pub requests: u64,
    /// Answered as expected.
    pub answered: u64,
    /// Lost, by kind; kinds without loss are left out.
    pub failed: BTreeMap<LossKind, u64>,
    /// Keep-alive: connections made. 0 for other clients, which make one per request.
    pub connections: u64,
    /// Keep-alive: how often the server closed an idle connection without a
    /// word, seen before anything was sent on it. Nothing was lost.
    pub idle_closed: u64,
    /// Keep-alive: how often an answer said that the connection will be closed.
    pub told_to_close: u64,
    /// The latest a request left after it was due: this machine's own lag.
    /// It is part of the latency, so a large one blames the server wrongly.
    pub max_lag_ms: f64,
    /// Latency outside upgrades.
    pub steady: Latency,
    /// Latency during upgrades.
    pub during: Latency,
}

impl ClientReport {
    /// Lost requests of one kind.
    #[must_use]
    pub fn lost(&self, kind: LossKind) -> u64 {
        self.failed.get(&kind).copied().unwrap_or(0)
    }

    /// Lost requests of every kind.
    #[must_use]
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// What one upgrade did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Upgrade {
    /// Which one, from 1.
    pub n: u32,
    /// What the trigger calls it.
    pub label: String,
    /// How it ended, in the trigger's words; of a failed one, why.
    pub outcome: String,
    /// Whether that was meant to happen.
    pub as_expected: bool,
    /// When it was triggered, after the load began.
    pub start_ms: f64,
    /// From the trigger until it finished.
    pub duration_ms: f64,
    /// Requests of every client under way at any moment of it.
    pub requests: u64,
    /// Of these, lost.
    pub failed: u64,
    /// The longest stretch of it in which requests were due and none was
    /// answered, as seen by the client with new connections (without one: by
    /// the keep-alive client).
    pub dark_window_ms: f64,
    /// From the trigger to the first answer by another version than the one
    /// that answered before, seen by the same client. `None`: no other was seen.
    pub first_answer_by_new_ms: Option<f64>,
    /// From the trigger to the last answer by the version that answered
    /// before, seen by the same client. `None`: no other was seen, or it gave
    /// none after the trigger.
    pub last_answer_by_old_ms: Option<f64>,
    /// The version that answered before.
    pub version_before: Option<String>,
    /// The other version seen last.
    pub version_after: Option<String>,
    /// Latency of the paced requests under way at any moment of it.
    pub latency: Latency,
}

/// The first lost request of a kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// How it was lost.
    pub kind: LossKind,
    /// Whose it was.
    pub load: Load,
    /// When it was found lost, after the load began.
    pub at_ms: f64,
    /// What was seen.
    pub text: String,
}

/// How well this machine could make the load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tester {
    /// How many requests of one client could be in flight.
    pub max_in_flight: u64,
    /// How many descriptors could be open.
    pub max_descriptors: u64,
}

impl Report {
    /// Whether the claim of zero downtime stands: no request was lost in any
    /// way, every upgrade ended as it was meant to, and at least one request
    /// was answered.
    #[must_use]
    pub fn lossless(&self) -> bool {
        self.failed == 0
            && self.answered > 0
            && self.upgrades.iter().all(|upgrade| upgrade.as_expected)
    }

    /// Lost requests of one kind, of every client.
    #[must_use]
    pub fn lost(&self, kind: LossKind) -> u64 {
        self.clients.iter().map(|client| client.lost(kind)).sum()
    }

    /// Upgrades that did not end as they were meant to.
    #[must_use]
    pub fn unexpected_upgrades(&self) -> usize {
        self.upgrades
            .iter()
            .filter(|upgrade| !upgrade.as_expected)
            .count()
    }

    /// The report of one client, if it was at work.
    #[must_use]
    pub fn client(&self, load: Load) -> Option<&ClientReport> {
        self.clients.iter().find(|client| client.load == load)
    }

    /// For machines; [`from_json`](Self::from_json) reads it.
    ///
    /// # Errors
    /// [`ReportError::Json`], should a value have no JSON form.
    pub fn to_json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads what [`to_json`](Self::to_json) wrote, also by a later version
    /// with the same format.
    ///
    /// # Errors
    /// [`ReportError::Json`]; [`ReportError::Format`] for another format.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.format != FORMAT {
            return Err(ReportError::Format {
                found: head.format,
                expected: FORMAT,
            });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// For people: plain text of at most 80 columns.
    #[must_use]
    pub fn table(&self) -> String {
        table::render(self)
    }

    /// For CI systems: a test case per upgrade and per kind of loss.
    ///
    /// # Errors
    /// [`ReportError::Junit`].
    pub fn to_junit(&self) -> Result<String, ReportError> {
        junit::render(self)
    }

    /// Latency over time, 1000 × 420, with the upgrades marked.
    ///
    /// # Errors
    /// [`ReportError::Picture`].
    pub fn to_svg(&self) -> Result<String, ReportError> {
        picture::render(self)
    }

    /// Writes `report.json`, `report.svg`, `junit.xml` and `report.txt` into
    /// `directory`, which is made if missing. Earlier ones are replaced.
    ///
    /// # Errors
    /// [`ReportError`]; files written before it stay. All are rendered
    /// before the first is written.
    pub fn write_to(&self, directory: &Path) -> Result<(), ReportError> {
        let files = [
            ("report.json", self.to_json()?),
            ("report.svg", self.to_svg()?),
            ("junit.xml", self.to_junit()?),
            ("report.txt", self.table()),
        ];
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ReportError::Write { path, source }
        };
        std::fs::create_dir_all(directory).map_err(failed(directory))?;
        for (name, text) in files {
            let path = directory.join(name);
            std::fs::write(&path, text).map_err(failed(&path))?;
        }
        Ok(())
    }
}
