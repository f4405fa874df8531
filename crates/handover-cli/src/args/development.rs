//! Arguments of `dev`.

use super::ServiceArgs;
use clap::Args;
use std::path::PathBuf;

/// Arguments of `dev`. Those of a service mean what they mean to `run`; where `dev` has another
/// default, `docs/operations.md` names it.
#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// Watch this directory or file instead of the working directory; may be repeated
    #[arg(long, short, value_name = "PATH")]
    pub(crate) watch: Vec<PathBuf>,
    /// Files whose changes do not count, besides those in .gitignore: '*.db', 'logs/'; may be
    /// repeated
    #[arg(long, short, value_name = "GLOB")]
    pub(crate) ignore: Vec<String>,
    /// Look for changes every second instead of being told of them: for filesystems that tell
    /// nothing, as some that a container shares with its host
    #[arg(long)]
    pub(crate) poll: bool,
    /// Leave LISTEN_PID out: for a program that runs below the given one instead of in its place,
    /// as below `make` or `just`
    #[arg(long)]
    pub(crate) no_listen_pid: bool,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}
