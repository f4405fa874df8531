//! `handover hub demo`: node processes of this program on the loopback, counters on them, clients
//! that increment all the time; a node joins, one leaves, one is killed. Then everything is counted.
//!
//! This process is a node of the hub itself, one of weight 0: it calls as any program would, and
//! runs nothing. So what was acknowledged is known to somebody who survives.

mod check;
mod counter;
mod load;
mod node;
mod report;
mod settle;
mod stage;
mod table;

pub(super) use node::run as node;

use super::super::show::json_line;
use super::print;
use crate::args::{Format, HubDemoArgs};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::hub::view::counted;
use crate::output::{Ink, say};
use load::Load;
use report::{Phase, Report, Verdict};
use settle::{gathered, settled};
use stage::Stage;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long each phase lasts at least, so that there are calls to speak of.
const AT_LEAST: Duration = Duration::from_secs(2);

/// Why the demo could not begin, or what was in its way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubDemoError {
    #[error("this program does not know its own path: {0}")]
    OwnPath(#[source] io::Error),
    #[error("no temporary directory: {0}; set TMPDIR to one that can be written")]
    Directory(#[source] io::Error),
    #[error("no port is free on 127.0.0.1: {0}")]
    Port(#[source] io::Error),
    #[error("signals cannot be watched: {0}")]
    Signals(#[source] io::Error),
    #[error("{} cannot be started: {source}", program.display())]
    Spawn {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("node {node} was not ready within {within:?}{}", said(.last_words))]
    NotReady {
        node: String,
        within: Duration,
        last_words: String,
    },
    #[error("this process cannot be a node: {0}")]
    Client(String),
    #[error("the nodes did not divide the shards among themselves")]
    Scattered,
    #[error("the counters did not start: {0}")]
    Counters(String),
    #[error("the node could not start: {0}")]
    Node(String),
}

fn said(last_words: &str) -> String {
    match last_words.trim() {
        "" => String::new(),
        words => format!("; it said:\n{words}"),
    }
}

pub(super) async fn run(args: HubDemoArgs) -> Result<ExitCode, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(HubDemoError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(HubDemoError::Signals)?;
    let mut stage = Stage::set(&args)?;
    let still = "the nodes were stopped";
    let shown = tokio::select! {
        shown = show(&mut stage, &args) => shown.map_err(CliError::from),
        _ = interrupt.recv() => Err(CliError::Interrupted { still }),
        _ = terminate.recv() => Err(CliError::Interrupted { still }),
    };
    // Also after Ctrl-C and after every failure: nothing stays behind.
    stage.clear().await;
    let report = shown?;
    print(&match args.format.format {
        Format::Text => table::render(&report, Ink::stdout()),
        Format::Json => json_line(&report),
    })?;
    Ok(match report.verdict {
        Verdict::Kept => ExitCode::Done,
        Verdict::Broken => ExitCode::Loss,
    })
}

async fn show(stage: &mut Stage, args: &HubDemoArgs) -> Result<Report, HubDemoError> {
    let begun = Instant::now();
    for _ in 0..args.nodes {
        stage.spawn().await?;
    }
    let hub = stage.join().await?;
    say(&format!(
        "{} run here, each a process of its own; watch one with: handover hub --socket {} top",
        counted(u64::from(args.nodes), "node", "nodes"),
        stage.nodes()[0].socket().display()
    ));
    if let Some(address) = args.dashboard {
        say(&format!("the page of node a: http://{address}/"));
    }
    if !gathered(&hub, &stage.names()).await {
        return Err(HubDemoError::Scattered);
    }
    let started = counter::start(&hub, args.processes).await?;
    say(&format!(
        "{} run, started in {started:.1?}",
        counted(u64::from(args.processes), "counter", "counters")
    ));
    let load = Load::begin(hub.clone(), args.processes, args.clients);
    let mut play = Play {
        stage,
        hub,
        load,
        replicas: args.replicas,
        phases: Vec::new(),
    };
    play.rest().await;
    play.join().await?;
    play.leave().await;
    play.kill().await;
    let Play { load, phases, .. } = play;
    load.end().await;
    Ok(Report::new(args, started, begun.elapsed(), phases))
}

/// The demo under way.
struct Play<'a> {
    stage: &'a mut Stage,
    hub: handover_hub::Hub,
    load: Load,
    replicas: u16,
    phases: Vec<Phase>,
}

impl Play<'_> {
    /// Load, and nothing else.
    async fn rest(&mut self) {
        let begun = Instant::now();
        self.finish("at rest", begun, Some(begun), &BTreeSet::new())
            .await;
    }

    /// One more node.
    async fn join(&mut self) -> Result<(), HubDemoError> {
        let begun = Instant::now();
        let name = self.stage.spawn().await?;
        let settled = settled(&self.hub, &self.stage.names()).await;
        let what = format!("{name} joins");
        self.finish(&what, begun, settled, &BTreeSet::new()).await;
        Ok(())
    }

    /// SIGTERM: everything moves away, then the process ends by itself.
    async fn leave(&mut self) {
        let Some(mut node) = self.stage.take() else {
            return;
        };
        let begun = Instant::now();
        let left = node.terminate().await;
        let settled = settled(&self.hub, &self.stage.names()).await;
        let what = format!("{} leaves", node.name());
        let settled = settled.filter(|_| left);
        self.finish(&what, begun, settled, &BTreeSet::new()).await;
    }

    /// SIGKILL: what it ran starts again elsewhere.
    async fn kill(&mut self) {
        let Some(mut node) = self.stage.take() else {
            return;
        };
        let excused = match self.replicas {
            0 => counter::hosted(&self.hub, node.name()),
            _ => BTreeSet::new(),
        };
        let begun = Instant::now();
        node.kill().await;
        let settled = settled(&self.hub, &self.stage.names()).await;
        let what = format!("{} is killed", node.name());
        self.finish(&what, begun, settled, &excused).await;
    }

    /// Waits until there were calls enough, then counts. Counters in `excused` had their only state
    /// on a node that was killed.
    async fn finish(
        &mut self,
        what: &str,
        begun: Instant,
        settled: Option<Instant>,
        excused: &BTreeSet<u32>,
    ) {
        tokio::time::sleep(AT_LEAST.saturating_sub(begun.elapsed())).await;
        let pause = self.load.pause().await;
        let count = check::count(&self.hub, pause.ledger(), excused).await;
        let took = settled.map(|at| at.saturating_duration_since(begun));
        let phase = Phase::new(what, took, self.stage.moves(), pause.calls(), &count);
        drop(pause);
        say(&table::sentence(&phase));
        self.phases.push(phase);
    }
}
