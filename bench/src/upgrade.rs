//! What an upgrade costs: the start of the new version against a bare spawn, and what clients see.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handover_verify::{Load, Plan, Report, Slow, TriggerError, TriggerReport};

use crate::client::{self, Order};
use crate::rig::Rig;
use crate::table::{Row, Table, median, millis};
use crate::{Failure, table};

/// Runs of each kind; the medians are compared.
const RUNS: usize = 50;
/// What the old process holds in the second comparison, in MiB.
const HELD: usize = 4096;
/// Runs of that; each fills the memory anew.
const HELD_RUNS: usize = 15;
/// Pause between two questions of a client that waits for an answer, so that waiting does not take
/// a core from whoever is being waited for.
const ASK_EVERY: Duration = Duration::from_micros(100);
/// Upgrades under load.
const UPGRADES: u32 = 100;
/// Start-up time of the slow starter.
const START_UP: Duration = Duration::from_millis(200);

pub(crate) async fn run(write: bool) -> Result<(), Failure> {
    let (spawns, rest) = tokio::task::spawn_blocking(starts).await??;
    let steady = under_load(Duration::ZERO, UPGRADES).await?;
    let slow_start = under_load(START_UP, 25).await?;
    let table = rows(&spawns, &steady, &slow_start, rest);
    println!("{table}");
    if write {
        table::write("upgrade", &table)?;
    }
    Ok(())
}

/// The first two rows alone.
pub(crate) async fn starts_only() -> Result<(), Failure> {
    let (starts, _) = tokio::task::spawn_blocking(starts).await??;
    for starts in starts {
        println!(
            "{:.2} = {:?} / {:?}",
            starts.ratio(),
            starts.upgrade,
            starts.bare
        );
    }
    Ok(())
}

/// Medians of starts, bare and by upgrade, measured in turn.
struct Starts {
    bare: Duration,
    upgrade: Duration,
    runs: usize,
}

impl Starts {
    fn ratio(&self) -> f64 {
        self.upgrade.as_secs_f64() / self.bare.as_secs_f64()
    }
}

/// What the old process is doing when the new one takes over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Old {
    /// A slow request, as any busy server; it exits when that is answered.
    Busy,
    /// Nothing: it exits at once, and the kernel frees its memory while the new one starts to serve.
    Idle,
}

fn starts() -> Result<([Starts; 3], u64), Failure> {
    eprintln!("{RUNS} starts of each kind …");
    let rig = Rig::start(Duration::ZERO)?;
    let rest = rig.settle()?["supervisor_rss_bytes"]
        .as_u64()
        .ok_or("no memory in the status")?;
    let spawn = compare(&rig, RUNS, 0, Old::Busy)?;
    eprintln!("{HELD_RUNS} more with {HELD} MiB in the old process, twice …");
    let held = compare(&rig, HELD_RUNS, HELD, Old::Busy)?;
    let idle = compare(&rig, HELD_RUNS, HELD, Old::Idle)?;
    Ok(([spawn, held, idle], rest))
}

fn compare(rig: &Rig, runs: usize, hold: usize, old: Old) -> Result<Starts, Failure> {
    let (mut bare, mut upgrade) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        // Before both, since it leaves the caches cold.
        if hold > 0 {
            client::get(rig.address, &format!("/hold?mib={hold}"))?;
        }
        bare.push(bare_start()?);
        let slow = (old == Old::Busy)
            .then(|| client::begin(rig.address, "/slow"))
            .transpose()?;
        upgrade.push(upgrade_start(rig)?);
        slow.map(client::finish).transpose()?;
        rig.settle()?;
    }
    Ok(Starts {
        bare: median(bare),
        upgrade: median(upgrade),
        runs,
    })
}

/// A bare posix_spawn of the server (which is what the standard library does without `pre_exec`)
/// until its first answer.
fn bare_start() -> Result<Duration, Failure> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["server", &address.to_string()])
        .stdin(Stdio::null());
    let began = Instant::now();
    let mut server = command.spawn()?;
    let answered = loop {
        if client::version(address).is_ok() {
            break Ok(began.elapsed());
        }
        if let Some(status) = server.try_wait()? {
            break Err(format!("the bare server ended: {status}").into());
        }
        std::thread::sleep(ASK_EVERY);
    };
    server.kill()?;
    server.wait()?;
    answered
}

fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// From the request to upgrade until the first answer by the new instance.
fn upgrade_start(rig: &Rig) -> Result<Duration, Failure> {
    let old = client::version(rig.address)?;
    let mut order = Order::connect(rig.socket())?;
    let began = Instant::now();
    order.send("POST", "/v1/upgrade")?;
    while client::version(rig.address)? == old {
        std::thread::sleep(ASK_EVERY);
    }
    let took = began.elapsed();
    let outcome = order.answer()?;
    if outcome["outcome"] == "committed" {
        Ok(took)
    } else {
        Err(outcome.to_string().into())
    }
}

/// Upgrades under a steady load of new connections, keep-alive and slow requests.
async fn under_load(start_up: Duration, upgrades: u32) -> Result<Report, Failure> {
    eprintln!(
        "{upgrades} upgrades under load, {} ms start-up …",
        start_up.as_millis()
    );
    let rig = tokio::task::spawn_blocking(move || Rig::start(start_up)).await??;
    let socket = rig.socket().to_owned();
    let mut plan = Plan::new(&format!("http://{}/", rig.address))?;
    plan.new_rate = 1500.0;
    plan.keep_alive_rate = 1500.0;
    plan.connections = 6;
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 8,
    });
    plan.upgrades = upgrades;
    plan.warm_up = Duration::from_secs(10);
    plan.interval = Duration::from_millis(500);
    plan.settle = Duration::from_millis(500);
    let trigger = |n: u32| {
        let socket = socket.clone();
        async move {
            let order =
                tokio::task::spawn_blocking(move || client::order(&socket, "POST", "/v1/upgrade"));
            let outcome = order.await.map_err(|error| {
                TriggerError::CouldNotStart(std::io::Error::other(error.to_string()))
            })?;
            let outcome = outcome.map_err(|error| {
                TriggerError::CouldNotStart(std::io::Error::other(error.to_string()))
            })?;
            let word = outcome["outcome"].as_str().unwrap_or_default().to_owned();
            let as_expected = word == "committed";
            Ok(TriggerReport {
                label: format!("upgrade {n}"),
                outcome: word,
                as_expected,
            })
        }
    };
    let report = handover_verify::run(&plan, trigger, |_| {}).await?;
    tokio::task::spawn_blocking(move || drop(rig)).await?;
    Ok(report)
}

fn longest_gap(report: &Report) -> f64 {
    report
        .upgrades
        .iter()
        .map(|upgrade| upgrade.dark_window_ms)
        .fold(0.0, f64::max)
}

fn rows(
    [spawn, held, idle]: &[Starts; 3],
    steady: &Report,
    slow_start: &Report,
    rest: u64,
) -> Table {
    let starts = |what: &str, starts: &Starts| Row {
        figure: format!("trigger → first answer ÷ bare posix_spawn → first answer{what}"),
        measured: format!("{:.2}", starts.ratio()),
        detail: format!(
            "{} ÷ {}, medians of {}",
            millis(starts.upgrade),
            millis(starts.bare),
            starts.runs
        ),
        wanted: "≤ 1.2".into(),
        met: starts.ratio() <= 1.2,
    };
    let mut table = Table::default();
    table.push(starts("", spawn));
    table.push(starts(
        &format!(", old process holding {} GiB", HELD >> 10),
        held,
    ));
    table.push(Row {
        wanted: "–".into(),
        met: true,
        ..starts(
            &format!(
                ", old process holding {} GiB and exiting at once",
                HELD >> 10
            ),
            idle,
        )
    });
    load_rows(&mut table, steady, slow_start);
    table.push(Row {
        figure: "supervisor memory at rest".into(),
        measured: format!("{:.1} MiB", rest as f64 / f64::from(1 << 20)),
        detail: "resident, one instance served, before any upgrade".into(),
        wanted: "–".into(),
        met: true,
    });
    table
}

/// What clients saw.
fn load_rows(table: &mut Table, steady: &Report, slow_start: &Report) {
    let gap = longest_gap(slow_start);
    let failed = steady.failed + slow_start.failed;
    let unexpected = steady.unexpected_upgrades() + slow_start.unexpected_upgrades();
    let tail = |report: &Report| {
        let new = report.client(Load::New);
        new.map_or((f64::NAN, f64::NAN), |new| {
            (new.steady.p999_ms, new.during.p999_ms)
        })
    };
    let (before, during) = tail(steady);
    table.push(Row {
        figure: format!(
            "longest gap between answers, {} ms start-up",
            START_UP.as_millis()
        ),
        measured: format!("{gap:.1} ms"),
        detail: format!(
            "worst of {}; longest gap without an upgrade in the same run: {:.1} ms",
            slow_start.upgrades.len(),
            slow_start.steady_dark_ms
        ),
        wanted: "≤ 10 ms".into(),
        met: gap <= 10.0,
    });
    table.push(Row {
        figure: "failed requests".into(),
        measured: failed.to_string(),
        detail: format!(
            "of {} over {} upgrades; upgrades that did not commit: {unexpected}",
            steady.requests + slow_start.requests,
            steady.upgrades.len() + slow_start.upgrades.len()
        ),
        wanted: "0".into(),
        met: failed == 0 && unexpected == 0,
    });
    table.push(Row {
        figure: "p99.9 of new connections, during ÷ steady".into(),
        measured: format!("{:.2}", during / before),
        detail: format!(
            "{during:.2} ms ÷ {before:.2} ms, {} upgrades",
            steady.upgrades.len()
        ),
        wanted: "≤ 1.5".into(),
        met: during / before <= 1.5,
    });
}
