//! Arguments of `adopt`.

use super::{FormatArgs, LogFormat, ServiceArgs};
use clap::Args;

/// Arguments of `adopt`. What describes the service is that of `run`; its listeners name those that
/// the running server has.
#[derive(Args, Debug)]
pub(crate) struct AdoptArgs {
    /// The running server; of a server with workers, their master
    #[arg(long, value_name = "PID")]
    pub(crate) pid: u32,
    /// Only show what would be done, or what is in the way
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The signal on which the running server stops gracefully [default: --stop-signal if given,
    /// else what is known of the program, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) old_stop_signal: Option<String>,
    /// The service's name, the same as --name
    #[arg(long, value_name = "SERVICE", conflicts_with = "name")]
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) run: ServiceArgs,
    /// text: the plan and events for people; json: the plan and events as JSON lines on standard
    /// output
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    /// How diagnostics are written to standard error; RUST_LOG chooses which
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
}
