//! Arguments of `verify` and `demo`.

use crate::duration;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

/// How to print a report.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReportFormat {
    /// A table for people
    #[default]
    Text,
    /// JSON
    Json,
    /// JUnit XML, for CI systems
    Junit,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The service under test, over plain http
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// How many upgrades
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) upgrades: u32,
    /// The shell command that upgrades it; UPGRADE_NUMBER tells it which upgrade this is, from 1
    #[arg(long, value_name = "CMD", required_unless_present = "no_upgrade")]
    pub(crate) upgrade_command: Option<String>,
    /// Only load, no upgrade: the baseline
    #[arg(long, conflicts_with_all = ["upgrades", "upgrade_command"])]
    pub(crate) no_upgrade: bool,
    /// Requests a second over new connections, and as many over kept-alive ones; they are sent when
    /// they are due, whatever the answers do, so that a stall is not hidden
    #[arg(
        long,
        value_name = "RATE",
        allow_negative_numbers = true,
        default_value_t = 200.0
    )]
    pub(crate) rate: f64,
    /// Kept-alive connections; 0: none
    #[arg(long, value_name = "C", default_value_t = 6)]
    pub(crate) connections: usize,
    /// A path that takes long to answer, so that requests are in flight at every upgrade
    #[arg(long, value_name = "PATH")]
    pub(crate) slow_path: Option<String>,
    /// How many slow requests are in flight
    #[arg(long, value_name = "N", default_value_t = 8, requires = "slow_path")]
    pub(crate) slow: usize,
    /// A path that takes a POST; half of each body is sent at once and the rest later, so that some
    /// are half sent at every upgrade
    #[arg(long, value_name = "PATH")]
    pub(crate) upload_path: Option<String>,
    /// The status every answer must have [default: any 2xx]
    #[arg(long, value_name = "CODE")]
    pub(crate) expect_status: Option<u16>,
    /// Text that every answer must contain
    #[arg(long, value_name = "TEXT")]
    pub(crate) expect_body: Option<String>,
    /// The answer's header that tells which version answered
    #[arg(long, value_name = "NAME", default_value = "x-version")]
    pub(crate) version_header: String,
    /// Load before the first upgrade
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration::parse)]
    pub(crate) warm_up: Duration,
    /// Pause between two upgrades
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::parse)]
    pub(crate) interval: Duration,
    /// How long after its command finished an upgrade is still watched
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    pub(crate) settle: Duration,
    /// How long after it was due a request is given up
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
    /// How long an upgrade may take
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration::parse)]
    pub(crate) upgrade_timeout: Duration,
    /// Write report.json, report.svg, junit.xml and report.txt into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// How to print the report on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: ReportFormat,
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Requests a second over new connections, and as many over kept-alive ones
    #[arg(
        long,
        value_name = "RATE",
        allow_negative_numbers = true,
        default_value_t = 1500.0
    )]
    pub(crate) rate: f64,
    /// Write the report and the picture into this directory
    #[arg(long, value_name = "DIR", default_value = "handover-demo")]
    pub(crate) out: PathBuf,
    /// How many good upgrades; two bad ones are added
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) upgrades: u32,
    /// How to print the report on standard output
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: ReportFormat,
}
