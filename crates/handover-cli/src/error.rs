//! Every way in which a command can fail, with its exit code.

use crate::client::ClientError;
use crate::command::{DemoError, HubDemoError, IncumbentError, TemplateError};
use crate::compose::ComposeError;
use crate::configuration::ConfigError;
use crate::discovery::DiscoveryError;
use crate::exit::ExitCode;
use crate::hub::HubError;
use crate::project::ProjectError;
use handover::container::{BeginError, EnvironmentError, KeyFileError, StatusError, VolumeError};
use handover::supervisor::stranger::LookError;
use handover::supervisor::{StartError, SuperviseError};
use handover_verify::{ReportError, VerifyError};
use std::io;
use std::path::PathBuf;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error(
        "the supervisor ended: {0}; its server may still serve: start it again to take charge of it"
    )]
    Supervise(#[from] SuperviseError),
    #[error("the demo could not begin: {0}")]
    Demo(#[from] DemoError),
    #[error("the demo of the hub could not go on: {0}; its nodes were stopped")]
    HubDemo(#[from] HubDemoError),
    #[error("the server could not start: {0}")]
    Server(String),
    #[error(transparent)]
    Incumbent(#[from] IncumbentError),
    #[error("the program answered something that was not asked: {0}")]
    NotAsked(String),
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error("the listeners cannot be kept: {0}")]
    Keeper(#[source] io::Error),
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("the listeners cannot be duplicated: {0}; raise the limit of open files (ulimit -n)")]
    Duplicate(#[source] io::Error),
    #[error("cannot write to standard output: {0}")]
    Stdout(#[source] io::Error),
    #[error("cannot write {path}: {source}")]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "`top` draws on a terminal, and there is none; use `handover status` or `handover events`"
    )]
    NotATerminal,
    #[error(
        "`hub top` draws on a terminal, and there is none; use `handover hub nodes` or \
         `handover hub events`"
    )]
    NoTerminalForHub,
    #[error("cannot draw on the terminal: {0}; use `handover status` or `handover events`")]
    Terminal(#[source] io::Error),
    #[error("the supervisor is gone; its server may still serve: see `handover status`")]
    SupervisorGone,
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("interrupted; {still}")]
    Interrupted {
        /// What goes on nevertheless, and how to end it.
        still: &'static str,
    },
}

impl CliError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Discovery(error) => error.exit_code(),
            Self::Client(error) => error.exit_code(),
            Self::Hub(error) => error.exit_code(),
            Self::Config(_)
            | Self::Compose(_)
            | Self::Project(_)
            | Self::NotATerminal
            | Self::NoTerminalForHub
            | Self::Environment(_)
            | Self::Template(_)
            | Self::KeyFile(_)
            | Self::Status(StatusError::Environment(_) | StatusError::Name { .. }) => {
                ExitCode::Usage
            }
            Self::Verify(error) => match error {
                VerifyError::BadUrl { .. }
                | VerifyError::Https { .. }
                | VerifyError::BadPlan { .. } => ExitCode::Usage,
                _ => ExitCode::Unexpected,
            },
            Self::Incumbent(error) => error.exit_code(),
            Self::Start(error) => match error {
                StartError::Zero(error) if error.is_usage() => ExitCode::Usage,
                StartError::Zero(_) => ExitCode::Refused,
                StartError::NoProgram
                | StartError::BadServiceName { .. }
                | StartError::BadSignal { .. }
                | StartError::DuplicateListener { .. }
                | StartError::LogFileNeedsCapture => ExitCode::Usage,
                StartError::AlreadyRunning { .. }
                | StartError::LogFile { .. }
                | StartError::Listener(_)
                | StartError::Program(_)
                | StartError::StrangerGone { .. }
                | StartError::StrangerKeeps { .. }
                | StartError::ServesAlready { .. }
                | StartError::Inherit(_)
                | StartError::CannotAdopt { .. } => ExitCode::Refused,
                _ => ExitCode::Unexpected,
            },
            Self::Begin(error) => match error {
                BeginError::Environment(_)
                | BeginError::Service { .. }
                | BeginError::Key(_)
                | BeginError::Volume(VolumeError::Missing { .. }) => ExitCode::Usage,
                BeginError::Volume(_) | BeginError::Register(_) | BeginError::Group(_) => {
                    ExitCode::Refused
                }
            },
            Self::Look(_) => ExitCode::Refused,
            Self::Interrupted { .. } => ExitCode::Interrupted,
            Self::Report(_)
            | Self::Stdout(_)
            | Self::Write { .. }
            | Self::Terminal(_)
            | Self::Supervise(_)
            | Self::Demo(_)
            | Self::HubDemo(_)
            | Self::Server(_)
            | Self::NotAsked(_)
            | Self::Keeper(_)
            | Self::Duplicate(_)
            | Self::SupervisorGone
            | Self::Status(_)
            | Self::Runtime(_) => ExitCode::Unexpected,
        }
    }
}
