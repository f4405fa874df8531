//! Arguments as they are typed. What they mean is decided by the command that takes them.

mod adopt;
mod development;
mod hub;
mod incumbent;
mod peer;
mod service;
mod systemd;
mod testing;

pub(crate) use adopt::AdoptArgs;
pub(crate) use development::DevArgs;
pub(crate) use hub::{
    DemoNodeArgs, EvacuateArgs, HubArgs, HubCommand, HubDemoArgs, HubEventsArgs, MoveArgs, PinArgs,
    PsArgs, WhereisArgs,
};
pub(crate) use incumbent::IncumbentArgs;
pub(crate) use peer::{ContainerArgs, PeerArgs, PeerCommand, WatchArgs};
pub(crate) use service::{LogFormat, RunArgs, ServiceArgs};
pub(crate) use systemd::{DoctorArgs, UnitArgs};
pub(crate) use testing::{DemoArgs, ReportFormat, VerifyArgs};

use crate::exit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use handover_proto::settings::{Stop, WhenBusy};
use std::path::PathBuf;

/// Hand a running service over from its old version to its new one with nothing dropped.
#[derive(Parser, Debug)]
#[command(
    name = "handover",
    version,
    propagate_version = true,
    after_help = exit::HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Where services keep their control sockets [default: $HANDOVER_RUNTIME_DIR, else /run/handover
    /// for root, else $XDG_RUNTIME_DIR/handover, else /tmp/handover-UID]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) runtime_dir: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a server, hold its listeners, and upgrade it on request
    Run(RunArgs),
    /// Take over from a server that runs elsewhere, then run as `run` does
    Take(RunArgs),
    /// Put a server that runs already under handover, without a restart
    Adopt(Box<AdoptArgs>),
    /// Hand over to a new version and wait until that is over
    Upgrade(UpgradeArgs),
    /// Hand over to the version before this one and wait until that is over
    Rollback(RollbackArgs),
    /// In probation, let the old version take back at once, without starting anything
    Undo(UndoArgs),
    /// Show who serves, on what, since when, and why
    Status(StatusArgs),
    /// Watch a service live
    Top(TopArgs),
    /// List the handovers of a service, oldest first
    History(ShowArgs),
    /// Test a new version without starting it: file, architecture, interpreter, test command,
    /// listeners
    Check(CheckArgs),
    /// Stop a service
    Stop(StopArgs),
    /// Abandon the running handover; the old version serves on
    Abort(SelectArgs),
    /// Follow what happens to a service, one line an event
    Events(EventsArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prove or refute a zero-downtime claim, ours or anybody's: load, upgrades, loss
    Verify(VerifyArgs),
    /// Watch a real server being upgraded under load, and bad versions being refused
    Demo(DemoArgs),
    /// While developing: hold the sockets, and hand over to a new build whenever a file changes
    Dev(DevArgs),
    /// Print the units of systemd for a service: the flags of `run`, and the installed version
    Unit(UnitArgs),
    /// Look for what stands in the way of handovers here, and say what to do about it
    Doctor(DoctorArgs),
    /// In a container: run a server, and hand over to the container of the next version
    #[command(after_help = peer::HELP)]
    Peer(Box<PeerArgs>),
    /// Stateful processes on many nodes: list, find, move, evacuate, watch
    #[command(after_help = hub::HELP)]
    Hub(Box<HubArgs>),
    /// Print the completion script of a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one page per command into a directory
    Man {
        /// Where to write; made if missing.
        dir: Option<PathBuf>,
    },
    /// The process that holds the listeners for a later supervisor.
    #[command(name = "__keeper", hide = true)]
    Keeper {
        /// The service's runtime directory.
        dir: PathBuf,
    },
    /// The server that `demo` upgrades.
    #[command(name = "__demo-server", hide = true)]
    DemoServer(DemoServerArgs),
}

/// Which service.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct SelectArgs {
    /// The service; not needed when only one runs
    #[arg(long, short, value_name = "NAME", env = "HANDOVER_SERVICE")]
    pub(crate) service: Option<String>,
}

/// For people, or for programs.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// JSON, one value a line
    Json,
}

/// How to print.
#[derive(Args, Debug, Clone, Copy, Default)]
pub(crate) struct FormatArgs {
    /// How to print
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) format: Format,
}

/// Arguments of commands that only show.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) show: ShowArgs,
    #[command(flatten)]
    pub(crate) incumbent: IncumbentArgs,
}

/// What to do when a handover is running already.
#[derive(Args, Debug, Clone, Copy)]
#[group(multiple = false)]
pub(crate) struct BusyArgs {
    /// When a handover is running, wait for it and run this one afterwards; only the newest
    /// waiting request is kept (the default)
    #[arg(long)]
    pub(crate) queue: bool,
    /// When a handover is running, abandon it and run this one
    #[arg(long)]
    pub(crate) supersede: bool,
    /// When a handover is running, refuse this one
    #[arg(long)]
    pub(crate) fail: bool,
}

impl BusyArgs {
    /// As the supervisor is told.
    pub(crate) fn meaning(self) -> WhenBusy {
        match self {
            Self {
                supersede: true, ..
            } => WhenBusy::Supersede,
            Self { fail: true, .. } => WhenBusy::Fail,
            Self { .. } => WhenBusy::Queue,
        }
    }
}

/// What the new version is.
#[derive(Args, Debug, Default)]
pub(crate) struct CandidateArgs {
    /// The new program; without it, the same path is run again (the file may have been replaced)
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<String>,
    /// Listeners of the new version, if they change; the whole list, as with `run`
    #[arg(long, short, value_name = "NAME=ADDR")]
    pub(crate) listen: Vec<String>,
    /// Arguments of the new version, if they change
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// Arguments of `upgrade`.
#[derive(Args, Debug)]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) incumbent: IncumbentArgs,
    #[command(flatten)]
    pub(crate) candidate: CandidateArgs,
    #[command(flatten)]
    pub(crate) busy: BusyArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `rollback`.
#[derive(Args, Debug)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) busy: BusyArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `undo`.
#[derive(Args, Debug)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) incumbent: IncumbentArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `top`.
#[derive(Args, Debug)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) candidate: CandidateArgs,
    /// A command that must exit with 0 when the new version is fit: `nginx -t`, `./server --check`
    #[arg(long, value_name = "CMD")]
    pub(crate) test_command: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// Arguments of `stop`.
#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// SIGTERM without draining, then SIGKILL
    #[arg(long, conflicts_with = "now")]
    pub(crate) fast: bool,
    /// SIGKILL at once
    #[arg(long)]
    pub(crate) now: bool,
}

impl StopArgs {
    /// As the supervisor is told.
    pub(crate) fn how(&self) -> Stop {
        match (self.now, self.fast) {
            (true, _) => Stop::Now,
            (false, true) => Stop::Fast,
            (false, false) => Stop::Drain,
        }
    }
}

/// Arguments of `events`.
#[derive(Args, Debug)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    /// Begin after this event; without it, with the oldest that is kept
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub(crate) since: u64,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// What to do with the configuration.
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Check a configuration without running anything
    Check(ConfigCheckArgs),
    /// Show the configuration and where each value comes from
    Show(ConfigShowArgs),
}

/// Arguments of `config check`.
#[derive(Args, Debug)]
pub(crate) struct ConfigCheckArgs {
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

/// Arguments of `config show`.
#[derive(Args, Debug)]
pub(crate) struct ConfigShowArgs {
    /// Show every value in force, also the defaults; without it, only those that are set
    #[arg(long)]
    pub(crate) effective: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
    #[command(flatten)]
    pub(crate) service: ServiceArgs,
}

/// How the demo's server behaves.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It serves.
    #[default]
    Serve,
    /// It ends with an error before it is ready.
    Crash,
    /// It never becomes ready.
    Never,
}

/// Arguments of the demo's server.
#[derive(Args, Debug)]
pub(crate) struct DemoServerArgs {
    /// What it says its version is.
    #[arg(long)]
    pub(crate) version_name: String,
    /// How it behaves.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) behaviour: Behaviour,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    fn busy(flag: &str) -> WhenBusy {
        let cli = Cli::try_parse_from(["handover", "upgrade", flag]).unwrap();
        match cli.command {
            Command::Upgrade(args) => args.busy.meaning(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_busy_supervisor_is_told_what_was_asked_for() {
        assert_eq!(busy("--queue"), WhenBusy::Queue);
        assert_eq!(busy("--supersede"), WhenBusy::Supersede);
        assert_eq!(busy("--fail"), WhenBusy::Fail);
        assert!(Cli::try_parse_from(["handover", "upgrade", "--fail", "--queue"]).is_err());
    }

    #[test]
    fn what_follows_two_dashes_belongs_to_the_program() {
        let line = [
            "handover", "run", "-l", "a=:1", "--", "./x", "--format", "-l",
        ];
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("{cli:?}")
        };
        assert_eq!(args.service.program, ["./x", "--format", "-l"]);
        assert_eq!(args.service.listen, ["a=:1"]);
    }
}
