//! Benchmarks: ratios against a floor of the same run, never absolute times.
//!
//! `cargo xtask bench upgrade` prints the table; `-- --write` also puts it into `bench/README.md`.
#![forbid(unsafe_code)]

mod client;
mod rig;
mod server;
mod table;
mod upgrade;

use std::process::ExitCode;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["server", ref options @ ..] => server::run(options).await,
        ["supervise", ref program @ ..] => rig::supervise(program).await,
        [] | ["upgrade"] => upgrade::run(false).await,
        ["upgrade", "--write"] => upgrade::run(true).await,
        _ => Err(format!("unknown benchmark {args:?}; there is: upgrade [--write]").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
