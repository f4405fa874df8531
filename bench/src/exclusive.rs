//! One owner of data: what a handover costs its clients, beside beyond-handoff with the same toy.
//!
//! The toy answers a line over TCP: `W` appends a number to a file and answers with it, `S` answers
//! after a while and writes nothing.

mod dark;
mod endurance;
mod load;
mod lock;
mod memory;
mod ours;
mod store;
mod theirs;

use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;
use crate::table::{self, Table};

/// The slow request.
const SLOW: &str = "S\n";
/// How long it takes.
const SLOW_FOR: Duration = Duration::from_millis(300);
/// How long a step may take before the benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the start-up delay of a daemon stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before anything is asked of the incumbent.
    Warm,
    /// While the data is opened, which only its owner may.
    Open,
}

/// What a toy daemon is told.
#[derive(Clone, Debug)]
struct Toy {
    directory: PathBuf,
    delay: Duration,
    place: Place,
    /// MiB of state that the incumbent passes on before its seal.
    base: usize,
}

impl Toy {
    fn parse(words: &[&str]) -> Result<Self, Failure> {
        let [directory, delay, place, base] = words else {
            return Err(format!("expected DIRECTORY DELAY_MS PLACE BASE, found {words:?}").into());
        };
        Ok(Self {
            directory: directory.into(),
            delay: Duration::from_millis(delay.parse()?),
            place: match *place {
                "warm" => Place::Warm,
                _ => Place::Open,
            },
            base: base.parse()?,
        })
    }

    fn args(&self, command: &str) -> Vec<String> {
        let place = match self.place {
            Place::Warm => "warm",
            Place::Open => "open",
        };
        vec![
            "exclusive".to_owned(),
            command.to_owned(),
            self.directory.display().to_string(),
            self.delay.as_millis().to_string(),
            place.to_owned(),
            self.base.to_string(),
        ]
    }
}

/// Commands of processes that the benchmark starts, and the benchmark itself.
pub(crate) async fn run(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["our-daemon", toy @ ..] => ours::daemon(&Toy::parse(toy)?).await,
        ["their-daemon", toy @ ..] => theirs::daemon(&Toy::parse(toy)?),
        ["their-supervisor", toy @ ..] => theirs::supervise(&Toy::parse(toy)?),
        ["memory-peer"] => memory::peer(),
        ["lock-peer", kind, directory] => lock::peer(kind, directory),
        _ => {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            tokio::task::spawn_blocking(move || measure(&words)).await?
        }
    }
}

/// Measures one part into the table.
type Part = fn(&mut Table) -> Result<(), Failure>;

/// All parts, or those that are named.
fn measure(words: &[String]) -> Result<(), Failure> {
    let has = |name: &str| words.iter().any(|word| word == name);
    let parts: [(&str, Part); 4] = [
        ("dark", dark::measure),
        ("memory", memory::measure),
        ("lock", lock::measure),
        ("endurance", endurance::measure),
    ];
    let all = !parts.iter().any(|(name, _)| has(name));
    let mut table = Table::default();
    for (name, measure) in parts {
        if all || has(name) {
            measure(&mut table)?;
        }
    }
    println!("{table}");
    match (has("--write"), all) {
        (true, true) => table::write("exclusive", &table),
        (true, false) => Err("a part alone is not written; leave its name out".into()),
        (false, _) => Ok(()),
    }
}

/// A directory in memory, where there is one, so that no disk is measured.
fn scratch() -> Result<tempfile::TempDir, Failure> {
    let memory = std::path::Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("handover-bench-");
    Ok(if memory.is_dir() {
        builder.tempdir_in(memory)?
    } else {
        builder.tempdir()?
    })
}
