//! Which program without a supervisor.

use clap::Args;
use std::path::PathBuf;

/// A program that decides for itself, because it has no supervisor.
#[derive(Args, Debug, Clone, Default)]
#[group(multiple = false)]
pub(crate) struct IncumbentArgs {
    /// Ask this process instead of a supervisor: a program with the library that was started without
    /// one and replaces itself (Builder::takeover)
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Option<u32>,
    /// The same, by the program's takeover socket
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}
