//! Looking up a row and keeping one.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use handover_hub::Registry;
use handover_hub_proto::identity::{Epoch, KindName, NodeId, ProcessId, Term};
use handover_hub_proto::placement::SHARDS;
use handover_hub_proto::row::{Host, Role, Row, Rows};
use handover_hub_proto::spec::ChildSpec;

use super::{empty, row};
use crate::Failure;
use crate::table::Table;

/// How long each figure is measured.
const LONG: Duration = Duration::from_secs(1);

/// Rows whose memory is measured.
const HELD: u64 = 1_000_000;

pub(super) fn measure() -> Result<Table, Failure> {
    let mut table = empty();
    let mut alone = Vec::new();
    for rows in [10_000, 100_000, 1_000_000] {
        let registry = filled(rows)?;
        let order = order(rows)?;
        let ids: Vec<ProcessId> = order.iter().copied().map(id).collect::<Result<_, _>>()?;
        let rate = rate(&registry, &ids);
        let floor = Floor::measure(&order, &ids);
        alone.push(rate);
        table.push(row(
            format!("look-ups a second by one thread, {rows} rows"),
            format!("{:.1} M", rate / 1e6),
            "≥ 10 M",
            rate >= 1e7,
            floor.to_string(),
        ));
        table.push(row(
            format!("÷ random loads that wait for each other, {rows} rows"),
            format!("{:.2}", rate / floor.chained),
            "–",
            true,
            "a look-up loads two lines besides the id: a bucket of the index, and the row's"
                .to_owned(),
        ));
        let both = by_threads(&registry, &ids, 2);
        table.push(row(
            format!("by two threads ÷ by one, {rows} rows"),
            format!("{:.2}", both / rate),
            "–",
            true,
            "look-ups of both together; nothing that they share is written".to_owned(),
        ));
        let (threads, reads, writes) = together(&registry, &ids, rows)?;
        table.push(row(
            format!("by {threads} threads while one more writes rows, {rows} rows"),
            format!("{:.1} M", reads / 1e6),
            "–",
            true,
            format!(
                "of all readers together; {:.2} M rows written a second",
                writes / 1e6
            ),
        ));
    }
    for (at, rows) in [(1, "100,000"), (2, "1,000,000")] {
        table.push(row(
            format!("look-ups with {rows} rows ÷ with 10,000"),
            format!("{:.2}", alone[at] / alone[0]),
            "–",
            true,
            "the rows of 10,000 stay in the cache of a processor, those of more do not".to_owned(),
        ));
    }
    let output = Command::new(std::env::current_exe()?)
        .args(["hub-registry", "hold", &HELD.to_string()])
        .output()?;
    let bytes: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    table.push(row(
        "memory of a row".to_owned(),
        format!("{bytes:.0} B"),
        "< 170 B",
        bytes < 170.0,
        format!("resident, all that the allocator adds too; {HELD} rows, ids of 16 bytes, arguments of 8"),
    ));
    Ok(table)
}

/// Prints how much memory so many rows take, in bytes each.
pub(super) fn hold(rows: u64) -> Result<(), Failure> {
    let before = resident()?;
    let registry = filled(rows)?;
    let after = resident()?;
    println!("{:.1}", after.saturating_sub(before) as f64 / rows as f64);
    black_box(registry);
    Ok(())
}

fn id(n: u64) -> Result<ProcessId, Failure> {
    Ok(ProcessId::new(&format!("session-{n:08}"))?)
}

fn one(n: u64, node: u64) -> Result<Row, Failure> {
    let mut spec = ChildSpec::new(KindName::new("session")?, id(n)?);
    spec.argument = n.to_le_bytes().into();
    let host = Host {
        node: NodeId(node),
        epoch: Epoch {
            term: Term(1),
            grant: n,
        },
        role: Role::Active,
        filled: true,
    };
    Ok(Row::new(spec, &[host]))
}

fn filled(rows: u64) -> Result<Registry, Failure> {
    let mut registry = Registry::new(SHARDS);
    for n in 0..rows {
        registry.put(one(n, n % 3)?);
    }
    Ok(registry)
}

/// Numbers of all rows in an order that no cache foresees.
fn order(rows: u64) -> Result<Vec<u64>, Failure> {
    let mut order: Vec<u64> = (0..rows).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..order.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        order.swap(at, usize::try_from(random % (at as u64 + 1))?);
    }
    Ok(order)
}

/// Calls `look` with one after the other for a while; calls a second.
fn paced<T>(all: &[T], mut look: impl FnMut(&T)) -> f64 {
    let (begun, mut count) = (Instant::now(), 0_usize);
    while begun.elapsed() < LONG {
        all.iter().for_each(&mut look);
        count += all.len();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}

fn rate(registry: &Registry, ids: &[ProcessId]) -> f64 {
    paced(ids, |id| {
        black_box(registry.active(id));
    })
}

fn by_threads(registry: &Registry, ids: &[ProcessId], threads: usize) -> f64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| rate(registry, ids)))
            .collect();
        threads.into_iter().filter_map(|one| one.join().ok()).sum()
    })
}

/// What the memory system allows, a second.
struct Floor {
    /// Loads of a line of 64 bytes, each at the place that the one before says.
    chained: f64,
    /// The same, all places known beforehand.
    apart: f64,
    numbers: f64,
    texts: f64,
}

impl Floor {
    fn measure(order: &[u64], ids: &[ProcessId]) -> Self {
        let mut lines = vec![[0_u64; 8]; order.len()];
        for (from, to) in order.iter().zip(order.iter().cycle().skip(1)) {
            lines[*from as usize][0] = *to;
        }
        let mut at = 0;
        let chained = paced(order, |_| at = lines[at as usize][0]);
        black_box(at);
        let apart = paced(order, |at| {
            black_box(lines[*at as usize][0]);
        });
        let numbers: HashMap<u64, u64> = order.iter().map(|n| (*n, *n)).collect();
        let numbers = paced(order, |n| {
            black_box(numbers.get(n));
        });
        let texts: HashMap<String, u64> = ids
            .iter()
            .zip(0..)
            .map(|(id, n)| (id.as_str().to_owned(), n))
            .collect();
        let texts = paced(ids, |id| {
            black_box(texts.get(id.as_str()));
        });
        Self {
            chained,
            apart,
            numbers,
            texts,
        }
    }
}

impl fmt::Display for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            chained,
            apart,
            numbers,
            texts,
        } = self;
        write!(
            f,
            "who answers calls to an id, in random order. In the same run: random loads of 64 bytes \
             from as many lines {:.1} M if each waits for the one before, {:.0} M if none does; std's \
             `HashMap<u64, u64>` {:.1} M, `HashMap<String, u64>` {:.1} M",
            chained / 1e6,
            apart / 1e6,
            numbers / 1e6,
            texts / 1e6
        )
    }
}

/// Readers on all processors but one, a writer on the last: how many, what they read, what it wrote.
fn together(
    registry: &Registry,
    ids: &[ProcessId],
    rows: u64,
) -> Result<(usize, f64, f64), Failure> {
    let readers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .saturating_sub(1)
        .max(1);
    let done = AtomicBool::new(false);
    let fresh: Vec<Row> = (0..rows).map(|n| one(n, 9)).collect::<Result<_, _>>()?;
    Ok(std::thread::scope(|scope| {
        let reading: Vec<_> = (0..readers)
            .map(|_| scope.spawn(|| rate(registry, ids)))
            .collect();
        let writing = scope.spawn(|| {
            let (begun, mut count) = (Instant::now(), 0_u64);
            let mut registry = registry.clone();
            while !done.load(Ordering::Relaxed) {
                for row in fresh.iter().take(1_000) {
                    registry.put(row.clone());
                }
                count += 1_000;
            }
            count as f64 / begun.elapsed().as_secs_f64()
        });
        let reads = reading.into_iter().filter_map(|one| one.join().ok()).sum();
        done.store(true, Ordering::Relaxed);
        (readers, reads, writing.join().unwrap_or_default())
    }))
}

/// Memory of this process that is resident, in bytes.
fn resident() -> Result<u64, Failure> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .ok_or("no second number in statm")?
        .parse()?;
    Ok(pages * u64::try_from(rustix::param::page_size())?)
}
