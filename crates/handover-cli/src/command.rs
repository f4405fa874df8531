//! What each command does.

mod adopt;
mod config;
mod demo;
mod dev;
mod doctor;
mod events;
mod hub;
mod incumbent;
mod keeper;
mod keyboard;
mod live;
mod manual;
mod peer;
mod printing;
mod run;
mod server;
mod show;
mod unit;
mod upgrade;
mod verify;
mod watch;

pub(crate) use demo::DemoError;
pub(crate) use hub::HubDemoError;
pub(crate) use incumbent::IncumbentError;
pub(crate) use peer::TemplateError;

use crate::args::{Cli, Command, SelectArgs};
use crate::client::Client;
use crate::discovery;
use crate::error::CliError;
use crate::exit::ExitCode;
use std::future::Future;
use std::path::{Path, PathBuf};

/// Runs the command that was asked for.
///
/// # Errors
/// [`CliError`], with its exit code.
pub(crate) fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    let root = discovery::root(cli.runtime_dir.as_deref());
    match cli.command {
        Command::Run(args) => run::dispatch(cli.runtime_dir.as_deref(), args),
        Command::Take(args) => run::take(cli.runtime_dir.as_deref(), args),
        Command::Adopt(args) => adopt::dispatch(cli.runtime_dir.as_deref(), *args),
        Command::Upgrade(args) => block_on(upgrade::upgrade(root, args)),
        Command::Rollback(args) => block_on(upgrade::rollback(root, args)),
        Command::Undo(args) => block_on(upgrade::undo(root, args)),
        Command::Status(args) => block_on(show::status(root, args)),
        Command::Top(args) => block_on(watch::top(root, args)),
        Command::History(args) => block_on(show::history(root, args)),
        Command::Check(args) => block_on(show::check(root, args)),
        Command::Stop(args) => block_on(show::stop(root, args)),
        Command::Abort(args) => block_on(show::abort(root, args)),
        Command::Events(args) => block_on(events::follow(root, args)),
        Command::Config(command) => config::dispatch(cli.runtime_dir.as_deref(), command),
        Command::Verify(args) => block_on(verify::run(args)),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Dev(args) => dev::dispatch(cli.runtime_dir.as_deref(), args),
        Command::Hub(args) => hub::dispatch(root, *args),
        Command::Keeper { dir } => keeper::dispatch(&dir),
        Command::DemoServer(args) => block_on(server::serve(args)),
        Command::Completions { shell } => manual::completions(shell),
        Command::Unit(args) => unit::dispatch(cli.runtime_dir.as_deref(), &args),
        Command::Doctor(args) => doctor::dispatch(root, args),
        Command::Peer(args) => peer::dispatch(cli.runtime_dir.as_deref(), *args),
        Command::Man { dir } => manual::pages(dir.as_deref()),
    }
}

/// One thread: a client waits most of the time, and a supervisor should be small.
fn block_on(
    command: impl Future<Output = Result<ExitCode, CliError>>,
) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(command)
}

/// The supervisor that is meant.
fn connect(root: &Path, select: &SelectArgs) -> Result<(String, Client), CliError> {
    let found = discovery::find(root, select.service.as_deref())?;
    Ok((found.service, Client::new(found.socket)))
}

/// Runs a future until it ends or Ctrl-C is pressed; `still` says what goes on nevertheless.
async fn interruptible<T>(
    future: impl Future<Output = Result<T, CliError>>,
    still: &'static str,
) -> Result<T, CliError> {
    tokio::select! {
        result = future => result,
        Ok(()) = tokio::signal::ctrl_c() => Err(CliError::Interrupted { still }),
    }
}

/// A program as the supervisor must be told: it may run in another directory.
fn absolute(program: &str) -> String {
    let path = PathBuf::from(program);
    let here = program.contains('/') || path.is_file();
    match std::path::absolute(&path) {
        Ok(absolute) if here => absolute.to_string_lossy().into_owned(),
        _ => program.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_with_a_path_are_named_from_the_root() {
        let here = std::env::current_dir().unwrap();
        let expected = here.join("server-v2");
        assert_eq!(absolute("./server-v2"), expected.to_str().unwrap());
        assert_eq!(absolute("/srv/x"), "/srv/x");
        // To be found on the supervisor's PATH.
        assert_eq!(absolute("gunicorn"), "gunicorn");
        assert_eq!(
            absolute("Cargo.toml"),
            here.join("Cargo.toml").to_str().unwrap()
        );
    }
}
