//! `handover peer`: containers of one service retire each other.

mod watch;

use super::block_on;
use crate::args::{PeerArgs, PeerCommand};
use crate::error::CliError;
use crate::exit::ExitCode;

pub(super) fn dispatch(args: PeerArgs) -> Result<ExitCode, CliError> {
    match args.command {
        PeerCommand::Watch(args) => block_on(watch::run(args)),
    }
}
