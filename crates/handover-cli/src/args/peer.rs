//! Arguments of `peer`.

mod container;
mod watch;

pub(crate) use container::ContainerArgs;
pub(crate) use watch::WatchArgs;

use super::RunArgs;
use clap::{Args, Subcommand, ValueEnum};

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

/// How the containers of a service are connected.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// A network of their own: every interface but loopback
    Bridge,
    /// The device's network: one interface only, so that devices of one LAN do not retire each other
    Host,
}

/// Where peers are.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct NetworkArgs {
    /// How the containers are connected [default: $HANDOVER_NETWORK_MODE, else bridge]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) network_mode: Option<NetworkMode>,
    /// The interface of mode host [default: $NETWORK_INTERFACE, else supervisor0]
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
}
