//! The `handover` command: run a server, upgrade it with nothing dropped, and prove it.
//!
//! Arguments as they are typed are [`args`]; what they mean is decided in [`command`]; screens are
//! pure functions in [`view`] and [`top`].
#![forbid(unsafe_code)]

mod args;
mod client;
mod clock;
mod command;
mod compose;
mod configuration;
mod discovery;
mod duration;
mod error;
mod exit;
mod hub;
mod output;
mod project;
mod systemd;
mod top;
mod view;

use clap::Parser;

fn main() -> std::process::ExitCode {
    // Ends the process with 2 on a usage error, with 0 after `--help`.
    let cli = args::Cli::parse();
    let code = match command::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            output::say(&format!("handover: {error}"));
            error.exit_code()
        }
    };
    code.into()
}
