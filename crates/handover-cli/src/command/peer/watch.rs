//! `handover peer watch`: follows which containers are up.

use crate::args::WatchArgs;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::say;

pub(super) async fn run(args: WatchArgs) -> Result<ExitCode, CliError> {
    say(&format!("nothing is listened to in this build: {args:?}"));
    Ok(ExitCode::Unexpected)
}
