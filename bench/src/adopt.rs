//! Adopting an nginx that serves a load: what its clients see of it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use handover::supervisor::{Config, StderrPolicy, Supervisor, stranger};
use handover_verify::{Load, Plan, Report, Slow, TriggerError, TriggerReport};
use serde_json::Value;
use tempfile::TempDir;

use crate::table::{self, Row, Table};
use crate::{Failure, client};

/// Adoptions, each of an nginx of its own; together more than 50,000 requests.
const ROUNDS: usize = 8;
/// New connections a second.
const RATE: f64 = 1500.0;
/// How long a step may take before the benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two questions whether it is over.
const ASK_EVERY: Duration = Duration::from_millis(2);

/// The requests that this is to be shown with.
const WANTED: u64 = 50_000;

pub(crate) async fn run(words: &[&str]) -> Result<(), Failure> {
    let write = match words {
        ["supervise", words @ ..] => return supervise(words).await,
        [] => false,
        ["--write"] => true,
        _ => return Err("adopt takes --write, or nothing".into()),
    };
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("adoption {round} of {ROUNDS} …");
        rounds.push(adopted_under_load().await?);
    }
    let table = rows(&rounds);
    println!("{table}");
    if write {
        table::write("adopt", &table)?;
    }
    Ok(())
}

/// `supervise PID RUNTIME_DIR PROGRAM ARGS…`
async fn supervise(words: &[&str]) -> Result<(), Failure> {
    let [pid, dir, program @ ..] = words else {
        return Err("supervise needs a process and a directory".into());
    };
    let facts = stranger::look(pid.parse()?)?;
    let plan = stranger::plan(&facts, &stranger::Wish::default());
    let plan = plan.map_err(|refusals| format!("{refusals:?}"))?;
    let config = Config {
        service: "bench".into(),
        program: program.iter().map(|word| (*word).to_owned()).collect(),
        runtime_dir: Some(PathBuf::from(dir)),
        stop_signal: "QUIT".into(),
        stderr: StderrPolicy::Inherit,
        ..Config::default()
    };
    Supervisor::adopt(config, plan).await?.run().await?;
    Ok(())
}

/// An nginx that was started plainly, and the supervisor that adopted it.
struct Stage {
    directory: TempDir,
    port: u16,
    old: Child,
    supervisor: Option<Child>,
}

impl Stage {
    fn set() -> Result<Self, Failure> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        for version in ["old", "new"] {
            let text = configuration(directory.path(), version, port);
            fs::write(directory.path().join(format!("{version}.conf")), text)?;
        }
        // A second and a half at the rate of its location.
        fs::write(directory.path().join("slow"), vec![b'x'; 4000])?;
        let old = Command::new("nginx")
            .args(["-c", &conf(directory.path(), "old"), "-g", "daemon off;"])
            .stdin(Stdio::null())
            .spawn()?;
        let stage = Self {
            directory,
            port,
            old,
            supervisor: None,
        };
        let since = Instant::now();
        while client::version(([127, 0, 0, 1], port).into()).is_err() {
            if since.elapsed() > PATIENCE {
                return Err("nginx does not answer".into());
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(stage)
    }

    /// A directory of its own: a supervisor makes it private, and nginx reads beside it.
    fn runtime(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    fn socket(&self) -> PathBuf {
        self.runtime().join("bench/control.sock")
    }

    /// Starts the supervisor and waits until the old nginx has gone. How long it took from the
    /// request to the commit.
    fn adopt(&mut self) -> Result<Duration, Failure> {
        let supervisor = Command::new(std::env::current_exe()?)
            .args(["adopt", "supervise", &self.old.id().to_string()])
            .arg(self.runtime())
            .args(["nginx", "-c", &conf(self.directory.path(), "new")])
            .stdin(Stdio::null())
            .spawn()?;
        self.supervisor = Some(supervisor);
        let since = Instant::now();
        let over = |status: &Value| {
            status["generation"] == 2
                && status["phase"] == "serving"
                && status["leaving"].as_array().is_some_and(Vec::is_empty)
        };
        loop {
            match client::order(&self.socket(), "GET", "/v1/status") {
                Ok(status) if over(&status) => break,
                other if since.elapsed() > PATIENCE => {
                    return Err(format!("it was not adopted: {other:?}").into());
                }
                _ => std::thread::sleep(ASK_EVERY),
            }
        }
        let history = client::order(&self.socket(), "GET", "/v1/history")?;
        let took = history[0]["took_us"].as_u64().ok_or("no history")?;
        Ok(Duration::from_micros(took))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let socket = self.socket();
        if let Some(supervisor) = &mut self.supervisor {
            let _ = client::order(&socket, "POST", "/v1/stop");
            let _ = supervisor.wait();
        }
        let _ = self.old.kill();
        let _ = self.old.wait();
    }
}

fn conf(directory: &Path, version: &str) -> String {
    directory
        .join(format!("{version}.conf"))
        .display()
        .to_string()
}

/// What Debian's has, on a port and in a directory of its own.
fn configuration(directory: &Path, version: &str, port: u16) -> String {
    let dir = directory.display();
    format!(
        "worker_processes 2; pid {dir}/{version}.pid; error_log {dir}/error.log;\n\
         events {{ worker_connections 768; }}\n\
         http {{ access_log off; server {{ listen 127.0.0.1:{port} backlog=4096;\n\
         add_header x-version {version};\n\
         location = /slow {{ root {dir}; limit_rate 2k; }}\n\
         location / {{ return 200 \"{version}\\n\"; }} }} }}\n"
    )
}

struct Round {
    report: Report,
    took: Duration,
}

async fn adopted_under_load() -> Result<Round, Failure> {
    let stage = tokio::task::spawn_blocking(Stage::set).await??;
    let mut plan = Plan::new(&format!("http://127.0.0.1:{}/", stage.port))?;
    plan.new_rate = RATE;
    plan.keep_alive_rate = 0.0;
    plan.connections = 0;
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 8,
    });
    plan.upgrades = 1;
    plan.warm_up = Duration::from_secs(3);
    plan.settle = Duration::from_secs(1);
    plan.cool_down = Duration::from_secs(2);
    let (sent, received) = std::sync::mpsc::channel();
    let stage = std::sync::Arc::new(std::sync::Mutex::new(stage));
    let shared = stage.clone();
    let trigger = move |_| {
        let (stage, sent) = (shared.clone(), sent.clone());
        async move {
            let adopt = tokio::task::spawn_blocking(move || {
                stage
                    .lock()
                    .map_err(|_| "poisoned".to_owned())?
                    .adopt()
                    .map_err(|e| e.to_string())
            });
            let failed = |text: String| TriggerError::CouldNotStart(std::io::Error::other(text));
            let took = adopt.await.map_err(|error| failed(error.to_string()))?;
            let took = took.map_err(failed)?;
            // The receiver lives as long as the run.
            let _ = sent.send(took);
            Ok(TriggerReport {
                label: "adoption".into(),
                outcome: "committed".into(),
                as_expected: true,
            })
        }
    };
    let report = handover_verify::run(&plan, trigger, |_| {}).await?;
    let took = received.try_recv().map_err(|_| "it was not adopted")?;
    tokio::task::spawn_blocking(move || drop(stage)).await?;
    Ok(Round { report, took })
}

fn rows(rounds: &[Round]) -> Table {
    let requests: u64 = rounds.iter().map(|round| round.report.requests).sum();
    let failed: u64 = rounds.iter().map(|round| round.report.failed).sum();
    let unexpected: usize = rounds
        .iter()
        .map(|round| round.report.unexpected_upgrades())
        .sum();
    let worst = |value: fn(&Report) -> f64| {
        let values = rounds.iter().map(|round| value(&round.report));
        values.fold(0.0, f64::max)
    };
    let gap = worst(|report| {
        let gaps = report.upgrades.iter().map(|upgrade| upgrade.dark_window_ms);
        gaps.fold(0.0, f64::max)
    });
    let steady = worst(|report| report.steady_dark_ms);
    let tail = |pick: fn(&handover_verify::ClientReport) -> f64| {
        let news = rounds.iter().filter_map(|r| r.report.client(Load::New));
        let mut tails: Vec<f64> = news.map(pick).collect();
        tails.sort_by(f64::total_cmp);
        tails.get(tails.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (before, during) = (
        tail(|new| new.steady.p999_ms),
        tail(|new| new.during.p999_ms),
    );
    let took = table::median(rounds.iter().map(|round| round.took).collect());
    let mut table = Table::default();
    table.push(Row {
        figure: "failed requests while a loaded nginx is adopted".into(),
        measured: failed.to_string(),
        detail: format!(
            "of {requests} over {} adoptions; that did not commit: {unexpected}",
            rounds.len()
        ),
        wanted: format!("0 of ≥ {WANTED}"),
        met: failed == 0 && unexpected == 0 && requests >= WANTED,
    });
    table.push(Row {
        figure: "request → commit".into(),
        measured: table::millis(took),
        detail: "median; the new nginx starts, and is seen to accept".into(),
        wanted: "–".into(),
        met: true,
    });
    table.push(Row {
        figure: "longest gap between answers".into(),
        measured: format!("{gap:.1} ms"),
        detail: format!("worst of all; longest gap without an adoption: {steady:.1} ms"),
        wanted: "–".into(),
        met: true,
    });
    table.push(Row {
        figure: "p99.9 of new connections, during ÷ steady".into(),
        measured: format!("{:.2}", during / before),
        detail: format!("{during:.2} ms ÷ {before:.2} ms, medians of the adoptions"),
        wanted: "–".into(),
        met: true,
    });
    table
}
