//! A thousand nodes and ten million processes: how even, and how much moves.

use std::collections::BTreeMap;
use std::time::Instant;

use handover_hub_proto::identity::{NodeId, NodeName, ProcessId};
use handover_hub_proto::placement::{homes, shard_of};
use handover_hub_proto::view::{Load, Member, Standing};

use super::{empty, row};
use crate::Failure;
use crate::table::{Table, median, millis};

const PROCESSES: u64 = 10_000_000;
/// Joins, and leaves, of which the mean is taken.
const CHANGES: u64 = 10;

/// Shards, and nodes to share them.
const SIZES: [(u16, u64); 4] = [(1_024, 3), (1_024, 10), (16_384, 100), (16_384, 1_000)];

pub(super) fn measure() -> Result<Table, Failure> {
    let mut table = empty();
    let mut filled: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for (shards, nodes) in SIZES {
        let processes = match filled.entry(shards) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => new.insert(fill(shards)?),
        };
        let all = cluster(0..nodes + CHANGES)?;
        let members = &all[..usize::try_from(nodes)?];
        even(&mut table, shards, members, processes);
        join(&mut table, shards, &all, members.len(), processes);
        leave(&mut table, shards, members, processes);
    }
    weighted(&mut table, &filled)?;
    Ok(table)
}

/// How many of the processes are in each shard.
fn fill(shards: u16) -> Result<Vec<u64>, Failure> {
    let mut processes = vec![0; usize::from(shards)];
    for n in 0..PROCESSES {
        let id = ProcessId::new(&format!("session-{n:08}"))?;
        processes[usize::from(shard_of(&id, shards).0)] += 1;
    }
    Ok(processes)
}

fn cluster(names: std::ops::Range<u64>) -> Result<Vec<Member>, Failure> {
    names
        .map(|n| {
            Ok(Member {
                id: NodeId(n),
                name: NodeName::new(&format!("node-{n}"))?,
                address: String::new(),
                weight: 100,
                version: String::new(),
                joined_ms: n,
                standing: Standing::Serving,
                load: Load::default(),
            })
        })
        .collect()
}

/// Processes on each node.
fn spread(homes: &[NodeId], processes: &[u64]) -> BTreeMap<NodeId, u64> {
    let mut spread = BTreeMap::new();
    for (home, count) in homes.iter().zip(processes) {
        *spread.entry(*home).or_default() += count;
    }
    spread
}

/// Shards and processes whose home is another one.
fn moved(before: &[NodeId], after: &[NodeId], processes: &[u64]) -> (u64, u64) {
    let pairs = before.iter().zip(after).zip(processes);
    let changed = pairs.filter(|((before, after), _)| before != after);
    changed.fold((0, 0), |(shards, sum), (_, count)| {
        (shards + 1, sum + count)
    })
}

fn even(table: &mut Table, shards: u16, members: &[Member], processes: &[u64]) {
    let mut times = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        std::hint::black_box(homes(std::hint::black_box(members), shards));
        times.push(begun.elapsed());
    }
    let spread = spread(&homes(members, shards), processes);
    let mean = PROCESSES as f64 / members.len() as f64;
    let most = spread.values().max().copied().unwrap_or(0) as f64 / mean;
    let least = spread.values().min().copied().unwrap_or(0) as f64 / mean;
    table.push(row(
        format!(
            "{} nodes, {shards} shards: processes of the fullest node ÷ mean",
            members.len()
        ),
        format!("{most:.3}"),
        "–",
        true,
        format!(
            "{PROCESSES} processes; emptiest {least:.3}; placed in {}",
            millis(median(times))
        ),
    ));
}

fn join(table: &mut Table, shards: u16, all: &[Member], nodes: usize, processes: &[u64]) {
    let (mut ratio, mut worst, mut operations) = (0.0, 0.0_f64, 0);
    let mut before = homes(&all[..nodes], shards);
    for size in nodes + 1..=all.len() {
        let after = homes(&all[..size], shards);
        let (changed, sum) = moved(&before, &after, processes);
        let ideal = PROCESSES as f64 / size as f64;
        operations += changed;
        ratio += sum as f64 / ideal / CHANGES as f64;
        worst = worst.max(sum as f64 / ideal);
        before = after;
    }
    table.push(row(
        format!("{nodes} nodes, {shards} shards, a node joins: processes moved ÷ (all ÷ nodes)"),
        format!("{ratio:.2}"),
        "–",
        true,
        format!(
            "mean of {CHANGES} joins, worst {worst:.2}; {:.0} engine operations each",
            operations as f64 / CHANGES as f64
        ),
    ));
}

fn leave(table: &mut Table, shards: u16, members: &[Member], processes: &[u64]) {
    let before = homes(members, shards);
    let on = spread(&before, processes);
    let (mut sum, mut ideal, mut operations) = (0, 0, 0);
    let step = (members.len() / CHANGES as usize).max(1);
    let goes: Vec<usize> = (0..members.len()).step_by(step).collect();
    for gone in &goes {
        let mut left = members.to_vec();
        let gone = left.remove(*gone);
        let (changed, count) = moved(&before, &homes(&left, shards), processes);
        operations += changed;
        sum += count;
        ideal += on.get(&gone.id).copied().unwrap_or(0);
    }
    table.push(row(
        format!(
            "{} nodes, {shards} shards, a node leaves: processes moved ÷ those it had",
            members.len()
        ),
        format!("{:.2}", sum as f64 / ideal.max(1) as f64),
        "–",
        true,
        format!(
            "mean of {} leaves; {:.0} engine operations each",
            goes.len(),
            operations as f64 / goes.len() as f64
        ),
    ));
}

/// Every third node is twice as large as the others.
fn weighted(table: &mut Table, filled: &BTreeMap<u16, Vec<u64>>) -> Result<(), Failure> {
    let shards = 16_384;
    let mut members = cluster(0..300)?;
    for member in members.iter_mut().step_by(3) {
        member.weight = 200;
    }
    let processes = &filled[&shards];
    let spread = spread(&homes(&members, shards), processes);
    let large = |member: &&Member| member.weight == 200;
    let sum = |some: Vec<&Member>| -> f64 {
        let of = some
            .iter()
            .map(|member| spread.get(&member.id).copied().unwrap_or(0));
        of.sum::<u64>() as f64 / some.len() as f64
    };
    let twice = sum(members.iter().filter(large).collect());
    let once = sum(members.iter().filter(|member| !large(member)).collect());
    table.push(row(
        "300 nodes, 16384 shards, 100 of twice the weight: processes of a large one ÷ of a small one"
            .to_owned(),
        format!("{:.3}", twice / once),
        "–",
        true,
        "means of each".to_owned(),
    ));
    Ok(())
}
