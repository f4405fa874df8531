//! Arguments of `peer watch`.

use crate::duration;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` says after the flags.
const HELP: &str = "\
A service is routed to its youngest instance that says UP. DOWN counts at once; an instance that is
not heard for 35 s is SILENT. Status messages are not authenticated: whoever can send to the group
decides. Name the services that matter with --service.

JSON, one object a line for each change:
  event      status
  unix_ms    when it was learnt
  service    the service
  change     up, down, silent, moved (other addresses), forgotten
  instance   whose: started_ms, status (UP, DOWN, SILENT), address, addresses
  serving    the instance to route to, with the same keys; null if none is up
  rerouted   whether that is another one, or at another address, than before

--exec CMD is run by `sh -c` with these variables:
  HANDOVER_SERVICE     the service
  HANDOVER_STATUS      UP if an instance is up, else what its youngest is: DOWN or SILENT
  HANDOVER_ADDRESS     where to route to; without an instance that is up, where the youngest was
  HANDOVER_ADDRESSES   all addresses of that instance, separated by spaces
  HANDOVER_STARTED_MS  when it started, in milliseconds since the Unix epoch
  HANDOVER_UP          one address of each instance that is up, the youngest first
Two runs are never under way at once. What changes meanwhile is told once, as it is by then. A run
that fails or takes longer than --exec-timeout is tried again after 1 s, 2 s, 4 s ... 30 s.

--template is in the language of Jinja, with these names:
  services   a list of what is known: name, status, address, addresses, started_ms, up, as above
             (addresses and up are lists), instances (a list: status, address, addresses, started_ms)
  service    the same by name: {{ service.api.address }}, if service.api is defined
A name that is not known is an error: the file stays as it was. With --exec, the command is run after
the file was replaced, with the variables of the service that changed last.

SIGINT and SIGTERM end it, with exit code 0.";

/// How the containers of a service are connected.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// By bridges of the device: every interface but loopback
    Bridge,
    /// The device's network: one interface only, so that no other device is heard
    Host,
}

/// Where to listen.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct NetworkArgs {
    /// How the containers are connected [default: $HANDOVER_NETWORK_MODE, else bridge]
    #[arg(long, value_enum, value_name = "MODE")]
    pub(crate) network_mode: Option<NetworkMode>,
    /// The interface of mode host [default: $NETWORK_INTERFACE, else supervisor0]
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
}

impl NetworkArgs {
    /// What was typed, as the variable that would say the same.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        match name {
            "HANDOVER_NETWORK_MODE" => {
                let mode = self.network_mode?.to_possible_value()?;
                Some(mode.get_name().into())
            }
            "NETWORK_INTERFACE" => self.interface.clone().map(OsString::from),
            _ => None,
        }
    }
}

/// Arguments of `peer watch`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct WatchArgs {
    /// Follow this service only; may be repeated
    #[arg(long, short, value_name = "NAME")]
    pub(crate) service: Vec<String>,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    /// One JSON object a line, one for each change
    #[arg(long)]
    pub(crate) json: bool,
    /// Run this by the shell after each change of a service
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// How long a run of --exec may take; then its process group is killed
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse, requires = "exec")]
    pub(crate) exec_timeout: Duration,
    /// Render this template into --output after each change, before --exec
    #[arg(long, value_name = "FILE", requires = "output")]
    pub(crate) template: Option<PathBuf>,
    /// Where the rendered template goes: written beside it and renamed, so never half there
    #[arg(long, value_name = "FILE", requires = "template")]
    pub(crate) output: Option<PathBuf>,
    /// How long to listen before the first --exec or --template: every instance that is up is heard
    /// within 10 s, and with fewer known the wrong one may seem the youngest
    #[arg(long, value_name = "TIME", default_value = "11s", value_parser = duration::parse)]
    pub(crate) settle: Duration,
}
