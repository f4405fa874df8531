//! Arguments of what has to do with systemd.

use super::{FormatArgs, ServiceArgs};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `unit`.
#[derive(Args, Debug)]
pub(crate) struct UnitArgs {
    /// Let systemd hold the listeners: a socket unit for each of them as well
    #[arg(long)]
    pub(crate) socket: bool,
    /// Run the service as this user
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Write for this version of systemd [default: the one that is installed]
    #[arg(long, value_name = "N")]
    pub(crate) systemd: Option<u32>,
    /// Write the units into this directory instead of printing them; nothing is overwritten
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Examine this unit of systemd, and its process if it runs
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
    /// Examine this process: its limits, namespaces, memory
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Examine this data directory of a service with --exclusive
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Examine this container: variables, network, multicast, volume, key, platform; with the flags of
    /// its `handover peer` where that is process 1
    #[arg(long)]
    pub(crate) container: bool,
    /// The volume that containers share [default: that of process 1, else $HANDOVER_VOLUME]
    #[arg(long, value_name = "DIR", requires = "container")]
    pub(crate) volume: Option<String>,
    /// Examine a service of this compose file: restart policy, labels, times, network, volumes, ports
    #[arg(long, value_name = "FILE")]
    pub(crate) compose: Option<PathBuf>,
    /// The service in that file [default: the only one that is handed over]
    #[arg(long, value_name = "NAME", requires = "compose")]
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}
