//! What is measured.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::member::Cluster;
use super::{CLIENTS, PACE, three};
use crate::Failure;
use crate::table::{Row, Table, millis};

/// How long nodes are watched that have nothing to do.
const REST: Duration = Duration::from_secs(20);

/// How long clients call while nothing moves: about as long as while a node joins.
const QUIET: Duration = Duration::from_millis(1500);

/// What ProcessHub 0.4.1-beta took: seconds to start, to join, to leave; where a range was seen the
/// better end.
fn theirs(size: u64) -> (Option<f64>, Option<f64>, Option<f64>) {
    match size {
        10_000 => (Some(0.44), Some(1.9), Some(2.2)),
        30_000 => (None, Some(9.0), Some(5.0)),
        100_000 => (Some(3.3), None, None),
        _ => (None, None, None),
    }
}

/// A fourth node joins under load, then leaves again.
pub(super) async fn start_join_leave(
    table: &mut Table,
    size: u64,
    all: bool,
) -> Result<(), Failure> {
    let (start, join, leave) = theirs(size);
    // Theirs needs the longer for each move the more there are.
    let faster = if size < 30_000 { 5.0 } else { 10.0 };
    let (mut cluster, took) = three(size).await?;
    table.push(timed("start", size, took, start, 1.0));

    if all {
        at_rest(table, &cluster, size).await?;
    }
    cluster.first().ask(&format!("add {size}"))?;
    let floor = quiet(table, &mut cluster, size).await?;
    let first = cluster.first();
    first.ask(&format!("load {size}"))?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    cluster.join().await?;
    cluster.settled(size, size / 5).await?;
    let took = begun.elapsed();
    let moved = cluster.members[3].count("processes")?;
    let seen = cluster.first().ask("unload")?;
    table.push(timed(
        &format!("join, {moved} move"),
        size,
        took,
        join,
        faster,
    ));
    calls(table, "join", size, &seen, floor);

    cluster.first().ask(&format!("load {size}"))?;
    let begun = Instant::now();
    let left = cluster.members[3].ask("leave")?;
    let took = begun.elapsed();
    cluster.members.pop();
    cluster.settled(size, 1).await?;
    let seen = cluster.first().ask("unload")?;
    table.push(timed(
        &format!("leave, {} move", left["moved"]),
        size,
        took,
        leave,
        5.0,
    ));
    calls(table, "leave", size, &seen, floor);
    let checked = cluster.first().ask(&format!("check {size}"))?;
    table.push(Row {
        figure: format!("states not kept through both, {size} processes"),
        measured: checked["wrong"].to_string(),
        detail: "every counter that no client used was added to once, and is read at the end"
            .into(),
        wanted: "0".into(),
        met: checked["wrong"] == 0 && checked["failed"] == 0,
    });
    Ok(())
}

async fn at_rest(table: &mut Table, cluster: &Cluster, size: u64) -> Result<(), Failure> {
    let memory: u64 = cluster
        .members
        .iter()
        .map(|m| m.resident().unwrap_or(0))
        .sum();
    let busy = rest(cluster).await?;
    table.push(Row {
        figure: format!("processor of a node at rest, {size} processes"),
        measured: format!("{:.2} %", busy * 100.0),
        detail: format!(
            "mean of three over {} s; resident {} MiB in all",
            REST.as_secs(),
            memory >> 20
        ),
        wanted: "< 1 %".into(),
        met: busy < 0.01,
    });
    Ok(())
}

/// One of three is killed.
pub(super) async fn kill(table: &mut Table, size: u64) -> Result<(), Failure> {
    let (mut cluster, _) = three(size).await?;
    let begun = Instant::now();
    cluster.members[2].kill()?;
    cluster.members.pop();
    cluster.settled(size, 1).await?;
    let theirs = (size == 10_000).then_some(0.7);
    table.push(timed(
        "one of three killed",
        size,
        begun.elapsed(),
        theirs,
        1.0,
    ));
    Ok(())
}

/// Two of four are killed at once.
pub(super) async fn two_killed(table: &mut Table, size: u64) -> Result<(), Failure> {
    let (mut cluster, _) = three(size).await?;
    cluster.join().await?;
    cluster.settled(size, size / 5).await?;
    let begun = Instant::now();
    for victim in [3, 2] {
        cluster.members[victim].kill()?;
        cluster.members.pop();
    }
    cluster.settled(size, 1).await?;
    let took = millis(begun.elapsed());
    let checked = cluster.first().ask(&format!("check {size}"))?;
    table.push(Row {
        figure: format!("two of four killed, {size} processes: never back"),
        measured: checked["failed"].to_string(),
        detail: format!("all ran after {took}; ProcessHub: 285"),
        wanted: "0".into(),
        met: checked["failed"] == 0,
    });
    Ok(())
}

async fn rest(cluster: &Cluster) -> Result<f64, Failure> {
    let used = || -> Result<Duration, Failure> {
        cluster
            .members
            .iter()
            .map(super::member::Member::busy)
            .sum()
    };
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = used()?;
    tokio::time::sleep(REST).await;
    let spent = used()?.saturating_sub(before);
    Ok(spent.as_secs_f64() / REST.as_secs_f64() / cluster.members.len() as f64)
}

fn timed(what: &str, size: u64, took: Duration, theirs: Option<f64>, faster: f64) -> Row {
    let seconds = took.as_secs_f64();
    let ratio = theirs.map(|theirs| theirs / seconds);
    Row {
        figure: format!("{what}, {size} processes"),
        measured: ratio.map_or_else(|| "settles".into(), |ratio| format!("{ratio:.1} × faster")),
        detail: match theirs {
            Some(theirs) => format!("{}; ProcessHub {theirs} s", millis(took)),
            None => format!(
                "{}; ProcessHub: no figure, or it does not settle",
                millis(took)
            ),
        },
        wanted: theirs.map_or_else(|| "settles".into(), |_| format!("≥ {faster} ×")),
        met: ratio.is_none_or(|ratio| ratio >= faster),
    }
}

/// The longest calls of one kind of processes, in order.
struct Longest(Vec<u64>);

impl Longest {
    fn of(seen: &Value, key: &str) -> Self {
        let all = seen[key].as_array();
        let all = all.map(|all| all.iter().filter_map(Value::as_u64).collect());
        let mut all: Vec<u64> = all.unwrap_or_default();
        all.sort_unstable();
        Self(all)
    }

    /// So many hundredths are no longer, in microseconds.
    fn part(&self, part: usize) -> Option<u64> {
        let rank = (self.0.len() * part).div_ceil(100).saturating_sub(1);
        self.0.get(rank).copied()
    }

    fn show(&self) -> String {
        let [half, most] = [50, 99].map(|part| {
            let part = self.part(part);
            part.map_or_else(|| "–".into(), |us| format!("{:.1} ms", us as f64 / 1e3))
        });
        format!("{half} / {most}")
    }
}

/// The same load while nothing moves: what clients, nodes and kernel do to calls on these cores.
/// Returns the 99th percentile in microseconds.
async fn quiet(table: &mut Table, cluster: &mut Cluster, size: u64) -> Result<u64, Failure> {
    cluster.first().ask(&format!("load {size}"))?;
    tokio::time::sleep(QUIET).await;
    let seen = cluster.first().ask("unload")?;
    let longest = Longest::of(&seen, "others_us");
    table.push(Row {
        figure: format!("longest call while nothing moves, {size} processes, p50 / p99"),
        measured: longest.show(),
        detail: format!(
            "{} calls by {CLIENTS} clients, one each {} ms, three nodes",
            seen["calls"],
            PACE.as_millis()
        ),
        wanted: "the floor".into(),
        met: true,
    });
    Ok(longest.part(99).unwrap_or_default())
}

fn calls(table: &mut Table, during: &str, size: u64, seen: &Value, floor: u64) {
    let bad = ["failed", "lost", "doubled"].map(|what| seen[what].as_u64().unwrap_or(u64::MAX));
    table.push(Row {
        figure: format!("calls failed, lost, doubled during the {during}, {size} processes"),
        measured: format!("{}, {}, {}", bad[0], bad[1], bad[2]),
        detail: format!(
            "of {} by {CLIENTS} clients, one each {} ms",
            seen["calls"],
            PACE.as_millis()
        ),
        wanted: "0, 0, 0".into(),
        met: bad == [0; 3],
    });
    let moved = Longest::of(seen, "pauses_us");
    let stayed = Longest::of(seen, "others_us");
    let most = moved.part(99);
    let ratio = most.map_or(0.0, |us| us as f64 / floor.max(1) as f64);
    table.push(Row {
        figure: format!(
            "longest call of a process that moved, during the {during}, {size} processes, p50 / p99"
        ),
        measured: moved.show(),
        detail: format!(
            "{} busy ones moved; of those that stayed {}; p99 {ratio:.1} × that while nothing moves",
            moved.0.len(),
            stayed.show()
        ),
        wanted: "≤ 10 ms".into(),
        met: most.is_some_and(|us| us <= 10_000),
    });
}
