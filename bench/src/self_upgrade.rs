//! What it costs a process that holds much memory to start the next version of itself.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use handover_sys::spawn::Spawn;
use rustix::process::getuid;
use tempfile::TempDir;

use crate::table::{Row, Table, median, millis};
use crate::{Failure, table as figures};

/// What the process holds, in MiB, and how many starts of each kind are compared.
const HELD: [(usize, usize); 3] = [(5, 101), (1024, 51), (4096, 31)];

/// What the new process does: its first byte is what is waited for.
const FIRST_BYTE: &str = "
use std::io::Write;
fn main() {
    std::io::stdout().write_all(b\"!\").unwrap();
}
";

/// A page, of which one byte is written so that it is resident.
const PAGE: usize = 4096;

/// Ways to start a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As the library and the supervisor do.
    Ours,
    /// `posix_spawn`: what the standard library does where nothing has to be arranged in the child.
    Floor,
    /// `fork` and `execve`: what it does as soon as something has, here a uid (our own).
    Fork,
}

const WAYS: [Way; 3] = [Way::Ours, Way::Floor, Way::Fork];

pub(crate) fn run(words: &[&str]) -> Result<(), Failure> {
    match words {
        ["hold", mib, runs, program] => hold(mib.parse()?, runs.parse()?, Path::new(program)),
        [] => compare().map(|table| println!("{table}")),
        ["--write"] => {
            let table = compare()?;
            println!("{table}");
            figures::write("self-upgrade", &table)
        }
        _ => Err(format!("unknown: self-upgrade {words:?}; there is [--write]").into()),
    }
}

/// Each size in a process of its own, which has held nothing else before.
fn compare() -> Result<Table, Failure> {
    let (_directory, program) = static_program()?;
    let mut table = Table::default();
    for (mib, runs) in HELD {
        eprintln!("{runs} starts of each kind from a process that holds {mib} MiB …");
        let holder = Command::new(std::env::current_exe()?)
            .args(["self-upgrade", "hold", &mib.to_string(), &runs.to_string()])
            .arg(&program)
            .stderr(Stdio::inherit())
            .output()?;
        if !holder.status.success() {
            return Err(format!("the process that holds {mib} MiB: {}", holder.status).into());
        }
        let said = String::from_utf8(holder.stdout)?;
        let nanos = said.split_whitespace().map(str::parse::<u64>);
        let medians: Vec<u64> = nanos.collect::<Result<_, _>>()?;
        let [ours, floor, fork, resident] = medians[..] else {
            return Err(format!("four numbers expected, found {said:?}").into());
        };
        let times = [ours, floor, fork].map(Duration::from_nanos);
        table.push(row(mib, runs, times, resident));
    }
    Ok(table)
}

fn row(mib: usize, runs: usize, [ours, floor, fork]: [Duration; 3], resident: u64) -> Row {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    let held = match mib >> 10 {
        0 => format!("{mib} MiB"),
        gib => format!("{gib} GiB"),
    };
    Row {
        figure: format!("spawn → first byte ÷ posix_spawn → first byte, process holding {held}"),
        measured: format!("{ratio:.2}"),
        detail: format!(
            "{} ÷ {}, medians of {runs}; fork: {}; {} MiB resident",
            millis(ours),
            millis(floor),
            millis(fork),
            resident >> 20
        ),
        wanted: "≤ 2".into(),
        met: ratio <= 2.0,
    }
}

/// Without a dynamic loader, which would cost as much as all the rest.
fn static_program() -> Result<(TempDir, PathBuf), Failure> {
    let directory = tempfile::tempdir()?;
    let (source, program) = (
        directory.path().join("first.rs"),
        directory.path().join("first"),
    );
    fs::write(&source, FIRST_BYTE)?;
    let compiled = Command::new("rustc")
        .args([
            "--edition=2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-o",
        ])
        .args([&program, &source])
        .status()?;
    if !compiled.success() {
        return Err(format!("rustc: {compiled}; is the static C library installed?").into());
    }
    Ok((directory, program))
}

/// In the process that holds: the medians in nanoseconds, then the bytes that were resident.
fn hold(mib: usize, runs: usize, program: &Path) -> Result<(), Failure> {
    let mut held = vec![0u8; mib << 20];
    for page in held.chunks_mut(PAGE) {
        page[0] = 1;
    }
    let mut times = WAYS.map(|_| Vec::with_capacity(runs));
    for round in 0..runs {
        // A fork leaves pages to be copied behind, so each way follows each other equally often.
        for turn in 0..WAYS.len() {
            let step = if round % 2 == 0 {
                turn
            } else {
                WAYS.len() - 1 - turn
            };
            let at = (round + step) % WAYS.len();
            times[at].push(start(WAYS[at], program)?);
        }
    }
    let resident = handover_sys::process::usage(std::process::id())?.rss_bytes;
    let [ours, floor, fork] = times.map(|times| median(times).as_nanos());
    println!("{ours} {floor} {fork} {resident}");
    drop(std::hint::black_box(held));
    Ok(())
}

/// From the call until the first byte.
fn start(way: Way, program: &Path) -> Result<Duration, Failure> {
    let (mut reader, writer) = std::io::pipe()?;
    let null = fs::File::open("/dev/null")?;
    if way == Way::Ours {
        let began = Instant::now();
        let spawn = Spawn::path(program).stdin(null.as_fd());
        let child = spawn.stdout(writer.as_fd()).spawn()?;
        let took = first_byte(&mut reader, began)?;
        child.pidfd.wait(None)?;
        return Ok(took);
    }
    let mut command = arranged(program, null, writer);
    if way == Way::Fork {
        command.uid(getuid().as_raw());
    }
    let began = Instant::now();
    let mut child = command.spawn()?;
    let took = first_byte(&mut reader, began)?;
    child.wait()?;
    Ok(took)
}

fn arranged(program: &Path, null: fs::File, writer: PipeWriter) -> Command {
    let mut command = Command::new(program);
    command.stdin(null).stdout(writer);
    command
}

fn first_byte(reader: &mut PipeReader, began: Instant) -> Result<Duration, Failure> {
    let mut byte = [0];
    reader.read_exact(&mut byte)?;
    Ok(began.elapsed())
}
