//! Why a test could not be made, and why an upgrade could not be triggered.

use std::io;
use std::time::Duration;

/// Why a run could not be made. A run that was made and found loss is not an
/// error: see [`Report::lossless`](crate::Report::lossless).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The URL does not parse.
    #[error("`{found}` is not a URL of the form http://host:port/path: {reason}")]
    BadUrl {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL asks for TLS, which this client does not speak.
    #[error(
        "`{found}` asks for https, which is not spoken here; give the plain http address behind \
         the TLS terminator"
    )]
    Https {
        /// What was given.
        found: String,
    },
    /// A field of the plan is out of its range. Nothing was sent.
    #[error("{field} is {found}, expected {expected}")]
    BadPlan {
        /// The field of [`Plan`](crate::Plan).
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// The host name has no address.
    #[error("cannot find an address for `{host}`: {reason}; check the name")]
    Resolve {
        /// The host and port asked for.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// One request was made before the load, and it was not answered as expected.
    #[error(
        "{url} must answer as expected before the test begins, but: {loss}; start the service \
         first, or correct the URL or what is expected of it"
    )]
    NotServing {
        /// The URL asked.
        url: String,
        /// What happened instead.
        loss: String,
    },
    /// This machine has too few descriptors for any load.
    #[error(
        "only {found} descriptors may be open, at least {needed} are needed; raise the limit \
         (ulimit -n)"
    )]
    Descriptors {
        /// The limit in force.
        found: u64,
        /// The least that works.
        needed: u64,
    },
    /// A client could not be started, or ended before it was told to.
    #[error("the client for {load} requests stopped: {reason}")]
    LoadStopped {
        /// Which client.
        load: &'static str,
        /// Why, as far as known.
        reason: String,
    },
}

/// Why an upgrade failed. Recorded in the report as a failed upgrade; the
/// test goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TriggerError {
    /// The upgrade command could not be started.
    #[error("cannot start the upgrade command: {0}")]
    CouldNotStart(#[source] io::Error),
    /// The upgrade command's output could not be kept.
    #[error("cannot keep the upgrade command's output: {0}; check the temporary directory")]
    Output(#[source] io::Error),
    /// The upgrade command ended without success.
    #[error("the upgrade command ended with {status}{}", tail_of(stderr_tail))]
    Failed {
        /// `exit status: 1`, `signal: 9 (SIGKILL)`.
        status: String,
        /// The last of what it wrote to its standard error.
        stderr_tail: String,
    },
    /// The upgrade did not end in time. It was abandoned; an upgrade command
    /// was killed with its process group.
    #[error(
        "the upgrade did not finish within {:.1} s{}",
        .after.as_secs_f64(),
        tail_of(stderr_tail)
    )]
    TimedOut {
        /// How long it was given.
        after: Duration,
        /// The last of what it wrote to its standard error, where known.
        stderr_tail: String,
    },
    /// A trigger of the caller's own failed.
    #[error("{0}")]
    Other(String),
}

fn tail_of(stderr: &str) -> String {
    let stderr = stderr.trim_end();
    if stderr.is_empty() {
        String::new()
    } else {
        format!("; it said: {stderr}")
    }
}

/// Why a report could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A file could not be written. Files written before it stay.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The picture could not be drawn.
    #[error("cannot draw the picture: {0}")]
    Picture(String),
    /// The report could not be turned into text, or text into a report.
    #[error("not a report of handover-verify: {0}")]
    Json(#[from] serde_json::Error),
    /// The JUnit file could not be written as XML.
    #[error("cannot write JUnit XML: {0}")]
    Junit(String),
    /// The report was written by a version this one cannot read.
    #[error(
        "the report has format {found}, this version reads {expected}; use the version that \
         wrote it"
    )]
    Format {
        /// The report's format number.
        found: u32,
        /// The number this version reads.
        expected: u32,
    },
}
