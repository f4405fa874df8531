//! Benchmarks: ratios against a floor of the same run, never absolute times.
//!
//! `cargo xtask bench upgrade`, `exclusive`, `takeover`, `adopt`, `containers`, `hub-registry`,
//! `hub-placement` and `hub-cluster` print their tables;
//! `-- --write` also puts them into `bench/README.md`.
#![forbid(unsafe_code)]

mod adopt;
mod client;
mod containers;
mod exclusive;
mod hub;
mod rig;
mod self_upgrade;
mod server;
mod table;
mod takeover;
mod upgrade;

use std::process::ExitCode;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // As `handover run` does it, and a daemon as small as the toy.
    let single = matches!(
        args[..],
        ["supervise", ..]
            | ["adopt", "supervise", ..]
            | ["exclusive", "our-daemon", ..]
            | ["takeover", "taker", ..]
            | ["self-upgrade", ..]
    );
    let mut builder = if single {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let done = builder
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(dispatch(&args)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(args: &[&str]) -> Result<(), Failure> {
    match args {
        ["server", options @ ..] => server::run(options).await,
        ["supervise", program @ ..] => rig::supervise(program).await,
        [] | ["upgrade"] => upgrade::run(false).await,
        ["upgrade", "--write"] => upgrade::run(true).await,
        ["adopt", words @ ..] => adopt::run(words).await,
        ["containers", words @ ..] => containers::run(words).await,
        ["exclusive", words @ ..] => exclusive::run(words).await,
        ["takeover", words @ ..] => takeover::run(words).await,
        ["self-upgrade", words @ ..] => self_upgrade::run(words),
        ["hub-cluster", words @ ..] => hub::cluster::run(words).await,
        [name @ ("hub-registry" | "hub-placement"), words @ ..] => hub::run(name, words),
        ["starts"] => upgrade::starts_only().await,
        _ => Err(format!(
            "unknown benchmark {args:?}; there is: upgrade [--write], exclusive [--write], \
             takeover [--write], adopt [--write], containers [--write], self-upgrade [--write], hub-registry [--write], \
             hub-placement [--write], hub-cluster [--write], starts"
        )
        .into()),
    }
}
