//! A peer that was announced and waits: its datagrams, its time on a core, its memory.

use std::fs;
use std::time::{Duration, Instant};

use super::network::{Network, Place, Wire};
use super::process::{Group, Kind, PATIENCE, Said};
use super::{FIRST, ratio};
use crate::Failure;
use crate::table::{Row, Table};

/// Until the repetitions of the first announcements have settled (82 s).
const SETTLED: Duration = Duration::from_secs(90);
/// How long is counted.
const COUNTED: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// A peer of either kind, alone in its process.
    Peer(Kind),
    /// `handover peer -- sleep 1000`.
    Command,
    /// The same without the status messages, which 0.0.10 of theirs does not have.
    CommandWithoutStatus,
}

/// What it cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    datagrams: u64,
    time: Duration,
    /// KiB that are resident.
    memory: u64,
}

/// One that waits, in a network of its own with somebody who counts.
struct Stage {
    /// Held, so that it runs.
    _peer: Group,
    listener: Group,
    pid: u32,
    _directory: tempfile::TempDir,
    _network: Network,
}

impl Stage {
    fn set(waiting: Waiting) -> Result<Self, Failure> {
        let network = Network::new(Wire::Bridge)?;
        let directory = tempfile::tempdir()?;
        let mut listener = Group::new()?;
        let mut listen = network.command(Place::Between, &std::env::current_exe()?);
        listen.args(["containers", "listen", "1536", "1537", "1538"]);
        listen.arg((FIRST).to_string());
        listen.arg((FIRST + super::process::SECOND).to_string());
        listener.start(listen)?;
        listener.ready()?;
        let peer = match waiting {
            Waiting::Peer(kind) => {
                let mut peer = kind.start(&network, Place::Old, FIRST..FIRST + 1)?;
                peer.ready()?;
                peer.tell(Duration::ZERO)?;
                peer
            }
            Waiting::Command | Waiting::CommandWithoutStatus => {
                let mut peer = Group::new()?;
                let mut command = super::command(&network, Place::Old, directory.path())?;
                if waiting == Waiting::CommandWithoutStatus {
                    command.arg("--no-status");
                }
                command.args(["--ready", "command:true", "--", "sleep", "1000"]);
                peer.start(command)?;
                peer
            }
        };
        let pid = peer.pids().next().ok_or("no process")?;
        Ok(Self {
            _peer: peer,
            listener,
            pid,
            _directory: directory,
            _network: network,
        })
    }

    fn cost(&mut self) -> Result<Cost, Failure> {
        self.listener.tell(Duration::ZERO)?;
        let mut datagrams = 0;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.listener.next(deadline)? {
                Some(Said::Heard(0, _)) => break,
                Some(Said::Heard(_, count)) => datagrams += count,
                Some(_) => {}
                None => return Err("the listener does not answer".into()),
            }
        }
        Ok(Cost {
            datagrams,
            time: on_core(self.pid)?,
            memory: resident(self.pid)?,
        })
    }
}

/// Time that all threads of a process were on a core, as the scheduler counts it.
fn on_core(pid: u32) -> Result<Duration, Failure> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let told = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = told.split_whitespace().next().unwrap_or_default();
        nanos += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

fn resident(pid: u32) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// All of them at the same time.
pub(super) fn measure(table: &mut Table) -> Result<(), Failure> {
    let kinds = [
        Waiting::Peer(Kind::Theirs),
        Waiting::Peer(Kind::Ours),
        Waiting::CommandWithoutStatus,
        Waiting::Command,
    ];
    let stages: Result<Vec<_>, _> = kinds.into_iter().map(Stage::set).collect();
    let mut stages = stages?;
    eprintln!("waiting {SETTLED:?}, then counting for {COUNTED:?} …");
    std::thread::sleep(SETTLED);
    let cost = |stages: &mut Vec<Stage>| -> Result<Vec<Cost>, Failure> {
        stages.iter_mut().map(Stage::cost).collect()
    };
    let before = cost(&mut stages)?;
    std::thread::sleep(COUNTED);
    let after = cost(&mut stages)?;
    let costs: Vec<Cost> = before
        .iter()
        .zip(after)
        .map(|(before, after)| Cost {
            datagrams: after.datagrams - before.datagrams,
            time: after.time.saturating_sub(before.time),
            memory: after.memory,
        })
        .collect();
    let [theirs, library, quiet, whole] = costs[..] else {
        return Err("a cost is missing".into());
    };
    rows(
        table,
        theirs,
        [
            ("library", library),
            ("`handover peer --no-status`", quiet),
            ("`handover peer`", whole),
        ],
    );
    Ok(())
}

fn rows(table: &mut Table, theirs: Cost, ours: [(&str, Cost); 3]) {
    let an_hour = |count: u64| count * HOUR.as_secs() / COUNTED.as_secs();
    let millis_an_hour =
        |time: Duration| time.as_secs_f64() * 1e3 * HOUR.as_secs_f64() / COUNTED.as_secs_f64();
    let mebibytes = |kib: u64| kib as f64 / 1024.0;
    for (name, cost) in ours {
        table.push(Row {
            figure: format!("datagrams of an announced peer, {name} ÷ theirs"),
            measured: format!("{:.2}", cost.datagrams as f64 / theirs.datagrams as f64),
            detail: format!(
                "{} ÷ {} an hour: {} and {} in {} s",
                an_hour(cost.datagrams),
                an_hour(theirs.datagrams),
                cost.datagrams,
                theirs.datagrams,
                COUNTED.as_secs(),
            ),
            wanted: "≤ 1".into(),
            met: cost.datagrams <= theirs.datagrams,
        });
        table.push(Row {
            figure: format!("time on a core of an announced peer, {name} ÷ theirs"),
            measured: ratio(cost.time, theirs.time),
            detail: format!(
                "{:.0} ms ÷ {:.0} ms an hour, of {} s",
                millis_an_hour(cost.time),
                millis_an_hour(theirs.time),
                COUNTED.as_secs(),
            ),
            wanted: "≤ 1".into(),
            met: cost.time <= theirs.time,
        });
        table.push(Row {
            figure: format!("resident memory of an announced peer, {name} ÷ theirs"),
            measured: format!("{:.2}", cost.memory as f64 / theirs.memory as f64),
            detail: format!(
                "{:.1} MiB ÷ {:.1} MiB",
                mebibytes(cost.memory),
                mebibytes(theirs.memory),
            ),
            wanted: "–".into(),
            met: true,
        });
    }
}
