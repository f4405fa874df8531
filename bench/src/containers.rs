//! Containers that hand over to each other, beside the npm package handover-lib 0.0.10 under Node: how
//! soon the old one reacts, and what waiting costs.

mod network;
mod ours;
mod process;
mod reaction;
mod relay;
mod rest;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use self::network::{Network, Place};
use crate::Failure;
use crate::table::{self, Table};

/// The group of both wires.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 192, 16, 16);
/// Port of the first pair; the others follow.
const FIRST: u16 = 20_000;
/// What the table says of the surroundings.
const SURROUNDINGS: &str = "network namespaces on bridges, everything on the same cores";

/// Processes that the benchmark starts, and the benchmark itself: all of it, or the parts that are named.
pub(crate) async fn run(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["peer", port] => ours::peer(port.parse()?).await,
        ["program", port] => ours::program(port.parse()?).await,
        ["relay", words @ ..] => relay::run(words).await,
        ["listen", ports @ ..] => relay::listen(ports).await,
        _ => {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            tokio::task::spawn_blocking(move || measure(&words)).await?
        }
    }
}

/// Measures one part into the table.
type Part = fn(&mut Table) -> Result<(), Failure>;

fn measure(words: &[String]) -> Result<(), Failure> {
    let has = |name: &str| words.iter().any(|word| word == name);
    let parts: [(&str, Part); 4] = [
        ("reaction", reaction::plain),
        ("command", reaction::command),
        ("loss", reaction::lossy),
        ("rest", rest::measure),
    ];
    let all = !parts.iter().any(|(name, _)| has(name));
    let mut table = Table::of(SURROUNDINGS);
    for (name, measure) in parts {
        if all || has(name) {
            measure(&mut table)?;
        }
    }
    println!("{table}");
    match (has("--write"), all) {
        (true, true) => table::write("containers", &table),
        (true, false) => Err("a part alone is not written; leave its name out".into()),
        (false, _) => Ok(()),
    }
}

/// `handover peer` as built beside this program, without what it is to run.
fn command(network: &Network, place: Place, directory: &Path) -> Result<Command, Failure> {
    let handover = std::env::current_exe()?.with_file_name("handover");
    if !handover.is_file() {
        let path = handover.display();
        return Err(format!("{path} is missing; `cargo xtask bench containers` builds it").into());
    }
    let mut command = network.command(place, &handover);
    command.args(["peer", "--name", "bench", "--complete-file"]);
    command.arg(directory.join("complete"));
    command.env("HANDOVER_RUNTIME_DIR", directory);
    // It warns of variables that look like its own and are not.
    command.env_remove(process::PACKAGE);
    Ok(command)
}

/// That of which so many of a hundred are no longer (nearest rank).
fn percentile(times: &[Duration], part: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * part).div_ceil(100);
    times
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn ratio(ours: Duration, theirs: Duration) -> String {
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    if ratio < 0.1 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.2}")
    }
}
