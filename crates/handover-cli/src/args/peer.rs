//! Arguments of `peer`.

mod container;
mod watch;

pub(crate) use container::ContainerArgs;
pub(crate) use watch::WatchArgs;

use super::RunArgs;
use clap::{Args, Subcommand};

/// What the flags of `run` mean here.
pub(super) const HELP: &str = "\
Here --probation is 10s unless given: for so long the older container, drained, stays able to take
back. --drain-announce keeps the program accepting for as long as load balancers need to hear DOWN.

Exit codes: 0 handed over, or stopped; 2 usage; 10 the program failed, an older container serves;
11 not begun, whoever served before serves on; 13 the program failed and nobody is known to serve.";

/// Arguments of `peer`: without a subcommand those of `run`, and what containers need to find each
/// other.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PeerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<PeerCommand>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
}

/// What `peer` can do besides running a server.
#[derive(Subcommand, Debug)]
pub(crate) enum PeerCommand {
    /// Follow which containers of which services are up, and tell a load balancer
    Watch(WatchArgs),
}
