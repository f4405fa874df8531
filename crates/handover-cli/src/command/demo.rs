//! `handover demo`: a real server under a real supervisor, upgraded under load to good versions and
//! to bad ones. Both are processes of their own, as a user's would be.

mod stage;
mod trigger;

use super::verify::{conclude, observe};
use crate::args::DemoArgs;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::output::say;
use handover_verify::{Plan, Report, Slow};
use stage::Stage;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use trigger::Script;

/// Kept-alive connections.
const CONNECTIONS: usize = 6;

/// Slow requests in flight at any moment.
const SLOW: usize = 8;

/// Load before the first upgrade: enough for a steady p99.9 at 1,500 requests a second.
const WARM_UP: Duration = Duration::from_secs(3);

/// Pause between two upgrades: longer than one is watched, so that windows do not overlap.
const INTERVAL: Duration = Duration::from_millis(1_500);

/// Why the demo could not begin, or what was in its way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("this program does not know its own path: {0}")]
    OwnPath(#[source] io::Error),
    #[error("no temporary directory: {0}; set TMPDIR to one that can be written")]
    Directory(#[source] io::Error),
    #[error("{} cannot be started: {source}", program.display())]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("signals cannot be watched: {0}")]
    Signals(#[source] io::Error),
    #[error("the supervisor ended before its server was ready{}", said(.last_words))]
    Ended { last_words: String },
    #[error("the server was not ready within {within:?}{}", said(.last_words))]
    NotReady {
        within: Duration,
        last_words: String,
    },
}

fn said(last_words: &str) -> String {
    match last_words.trim() {
        "" => String::new(),
        words => format!("; it said:\n{words}"),
    }
}

pub(super) async fn run(args: DemoArgs) -> Result<ExitCode, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signals)?;
    let mut stage = Stage::set()?;
    let still = "the server and its supervisor were stopped";
    let shown = tokio::select! {
        shown = show(&mut stage, &args) => shown,
        _ = interrupt.recv() => Err(CliError::Interrupted { still }),
        _ = terminate.recv() => Err(CliError::Interrupted { still }),
    };
    // Also after Ctrl-C and after every failure: nothing stays behind.
    stage.clear().await;
    let report = shown?;
    let code = conclude(&report, Some(&args.out), args.format)?;
    say(&verdict(&report));
    Ok(code)
}

async fn show(stage: &mut Stage, args: &DemoArgs) -> Result<Report, CliError> {
    let address = stage.begin().await?;
    say(&format!(
        "version 1 serves http://{address}/, a process of its own under `handover run`; watch it \
         with: handover --runtime-dir {} top",
        stage.runtime_dir().display()
    ));
    let script = Script::new(stage.client(), args.upgrades);
    let mut plan = Plan::new(&format!("http://{address}/"))?;
    plan.new_rate = args.rate;
    plan.keep_alive_rate = args.rate;
    plan.connections = CONNECTIONS;
    plan.slow = Some(Slow {
        path: "/slow".to_owned(),
        concurrency: SLOW,
    });
    plan.warm_up = WARM_UP;
    plan.interval = INTERVAL;
    plan.upgrades = script.len();
    observe(&plan, script).await
}

/// The result in a sentence.
fn verdict(report: &Report) -> String {
    let upgrades = report.upgrades.len();
    let wrong = report.unexpected_upgrades();
    if report.lossless() {
        return format!(
            "{} requests, none failed; {upgrades} of {upgrades} upgrades ended as they were meant \
             to: good versions took over, bad ones were refused while the old one served",
            report.requests
        );
    }
    format!(
        "{} of {} requests failed; {wrong} of {upgrades} upgrades did not end as they were meant to",
        report.failed, report.requests
    )
}
