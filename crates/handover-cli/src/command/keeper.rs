//! The process that holds a service's listeners for a later supervisor: `run` starts it.

use crate::error::CliError;
use crate::exit::ExitCode;
use handover::supervisor::keeper;
use std::path::Path;

/// What makes this program a keeper, for the supervisor.
pub(super) const ARGUMENT: &str = "__keeper";

pub(super) fn dispatch(dir: &Path) -> Result<ExitCode, CliError> {
    keeper::keep(dir).map_err(CliError::Keeper)?;
    Ok(ExitCode::Done)
}
