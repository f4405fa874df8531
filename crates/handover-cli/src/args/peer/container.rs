//! Arguments of `peer` without a subcommand.

use clap::Args;

/// How a container finds the other instances of its service. Every flag is optional, because the
/// file or the environment may give it.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Between containers")]
pub(crate) struct ContainerArgs {
    /// bridge: multicast on every interface but loopback; host: the container shares the network of
    /// its device, and multicast stays on --interface [default: bridge]
    #[arg(long, value_name = "MODE")]
    pub(crate) network_mode: Option<String>,
    /// With --network-mode host: the device's own bridge [default: $NETWORK_INTERFACE, else
    /// supervisor0]
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// A volume that the old and the new container share: they talk there instead of by multicast,
    /// and listeners cross if both are in one network
    #[arg(long, value_name = "DIR")]
    pub(crate) volume: Option<String>,
    /// Obey only who has this key: a file with at least 16 bytes, the same in both containers
    /// [default: with --volume, one that is made there]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<String>,
    /// What becomes of announcements of handover-lib: obey (send them, and go when a younger one is
    /// heard), announce (send only), off [default: obey; with a key, announce]
    #[arg(long, value_name = "WHAT")]
    pub(crate) legacy: Option<String>,
    /// How long the new instance may be silent before the old one takes back [default: 5s]
    #[arg(long, value_name = "TIME")]
    pub(crate) silence: Option<String>,
    /// Send no status (UP, DOWN) for load balancers
    #[arg(long)]
    pub(crate) no_status: bool,
    /// The file that tells the platform that this container may be killed [default:
    /// $BALENA_SERVICE_HANDOVER_COMPLETE_PATH, else /tmp/balena/handover-complete]
    #[arg(long, value_name = "FILE")]
    pub(crate) complete_file: Option<String>,
    /// Exit at once when this container has handed over, instead of waiting for SIGTERM; not with a
    /// restart policy, which would revive it
    #[arg(long)]
    pub(crate) exit_when_done: bool,
}
