//! Arguments of `peer`.

mod container;
mod watch;

pub(crate) use container::ContainerArgs;
pub(crate) use watch::WatchArgs;

use super::RunArgs;
use clap::{Args, Subcommand};

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
