//! A hub of real processes on this machine, gossip between them: what starting, joining, leaving and
//! dying cost, beside what ProcessHub 0.4.1-beta took for the same work.
//!
//! Its figures are those of another run on a machine of this kind, so each is divided by one of ours:
//! no ratio of one run, and the page says so.

mod figures;
mod load;
mod member;
mod node;

use std::time::Duration;

use self::member::Cluster;
use crate::Failure;
use crate::table::{self, Table};

/// What the table says of the surroundings.
const SURROUNDINGS: &str =
    "three or four node processes on loopback, gossip, no TLS, clients on one of them";

/// Clients that call while processes move.
const CLIENTS: u64 = 200;
/// Between two calls of one client.
const PACE: Duration = Duration::from_millis(5);

/// A node, or the whole measurement: of so many processes, or of the usual numbers.
pub(crate) async fn run(words: &[&str]) -> Result<(), Failure> {
    if let ["node", name, address, seeds @ ..] = words {
        return node::run(name, address, seeds).await;
    }
    let mut sizes = Vec::new();
    for word in words.iter().filter(|word| !word.starts_with("--")) {
        sizes.push(word.parse::<u64>()?);
    }
    if sizes.is_empty() {
        sizes.extend([10_000, 30_000, 100_000]);
    }
    let mut table = Table::of(SURROUNDINGS);
    let all = !words.contains(&"--moves");
    for size in sizes {
        figures::start_join_leave(&mut table, size, all).await?;
        if all {
            figures::kill(&mut table, size).await?;
        }
    }
    if all {
        figures::two_killed(&mut table, 3_000).await?;
    }
    println!("{table}");
    if words.contains(&"--write") {
        table::write("hub-cluster", &table)?;
    }
    Ok(())
}

/// Three nodes that know each other and have these processes.
async fn three(size: u64) -> Result<(Cluster, Duration), Failure> {
    let mut cluster = Cluster::default();
    for _ in 0..3 {
        cluster.join().await?;
    }
    cluster.all_know("members", 3).await?;
    let took = cluster.start(size).await?;
    Ok((cluster, took))
}
