//! `handover peer`: containers of one service retire each other.

mod watch;

pub(crate) use watch::TemplateError;

use super::{block_on, config};
use crate::args::{PeerArgs, PeerCommand};
use crate::configuration;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::say;
use std::path::Path;

pub(super) fn dispatch(runtime_dir: Option<&Path>, args: PeerArgs) -> Result<ExitCode, CliError> {
    match args.command {
        Some(PeerCommand::Watch(args)) => block_on(watch::run(args)),
        None => run(runtime_dir, &args),
    }
}

fn run(runtime_dir: Option<&Path>, args: &PeerArgs) -> Result<ExitCode, CliError> {
    let mut effective = config::load(runtime_dir, &args.run.service)?;
    configuration::container(&args.container, &mut effective)?;
    configuration::config(&effective)?;
    say("nothing is run in this build");
    Ok(ExitCode::Unexpected)
}
