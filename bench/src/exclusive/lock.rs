//! The lease from one process to the next, beside the bare lock.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use handover::lease::{Attempt, LeaseFile, Options};

use super::scratch;
use crate::Failure;
use crate::table::{Row, Table, median};

/// Changes of owner of each kind.
const RUNS: usize = 500;

/// What is locked.
enum Lock {
    Bare(File),
    Lease(Box<LeaseFile>),
}

impl Lock {
    fn open(kind: &str, directory: &Path) -> Result<Self, Failure> {
        if kind == "lease" {
            let lease = LeaseFile::open(directory, Options::default())?;
            return Ok(Self::Lease(Box::new(lease)));
        }
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Self::Bare(options.open(directory.join("bare"))?))
    }

    fn acquire(&mut self) -> Result<(), Failure> {
        match self {
            Self::Bare(file) => Ok(file.try_lock()?),
            Self::Lease(lease) => match lease.try_acquire()? {
                Attempt::Acquired(_) => Ok(()),
                Attempt::Busy => Err("the lease is not free".into()),
            },
        }
    }

    fn release(&mut self) -> Result<(), Failure> {
        match self {
            Self::Bare(file) => Ok(file.unlock()?),
            Self::Lease(lease) => Ok(lease.release()?),
        }
    }
}

/// `lock-peer KIND DIRECTORY`: acquires when it reads a byte, releases when it reads another, and
/// answers each.
pub(crate) fn peer(kind: &str, directory: &str) -> Result<(), Failure> {
    let mut lock = Lock::open(kind, Path::new(directory))?;
    let mut held = false;
    let mut byte = [0];
    while io::stdin().read(&mut byte)? == 1 {
        if held {
            lock.release()?;
        } else {
            lock.acquire()?;
        }
        held = !held;
        io::stdout().write_all(&byte)?;
        io::stdout().flush()?;
    }
    Ok(())
}

struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Peer {
    fn start(kind: &str, directory: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["exclusive", "lock-peer", kind])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            input: child.stdin.take(),
            output: child.stdout.take().ok_or("no output")?,
            child,
        })
    }

    fn turn(&mut self) -> Result<(), Failure> {
        self.input.as_mut().ok_or("closed")?.write_all(b"x")?;
        Ok(self.output.read_exact(&mut [0])?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Times of one kind: until the other process has what was released here, and the two calls
/// alone, in this process.
struct Times {
    between: Duration,
    alone: Duration,
}

fn change(lock: &mut Lock, peer: &mut Peer) -> Result<Duration, Failure> {
    let began = Instant::now();
    lock.release()?;
    peer.turn()?;
    let took = began.elapsed();
    peer.turn()?;
    lock.acquire()?;
    Ok(took)
}

fn alone(lock: &mut Lock) -> Result<Duration, Failure> {
    let began = Instant::now();
    lock.release()?;
    lock.acquire()?;
    Ok(began.elapsed())
}

/// Adds the row.
pub(crate) fn measure(table: &mut Table) -> Result<(), Failure> {
    eprintln!("{RUNS} changes of owner of each kind …");
    let directory = scratch()?;
    let directory = directory.path();
    let mut locks = [
        Lock::open("bare", directory)?,
        Lock::open("lease", directory)?,
    ];
    let mut peers = [
        Peer::start("bare", directory)?,
        Peer::start("lease", directory)?,
    ];
    let mut found = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for lock in &mut locks {
        lock.acquire()?;
    }
    for _ in 0..RUNS {
        for ((lock, peer), times) in locks.iter_mut().zip(&mut peers).zip(&mut found) {
            times.0.push(change(lock, peer)?);
            times.1.push(alone(lock)?);
        }
    }
    let [bare, lease] = found.map(|(between, alone)| Times {
        between: median(between),
        alone: median(alone),
    });
    let ratio = lease.between.as_secs_f64() / bare.between.as_secs_f64();
    let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    table.push(Row {
        figure: "lease: release → acquired by another process ÷ bare flock".into(),
        measured: format!("{ratio:.2}"),
        detail: format!(
            "{} ÷ {}, medians of {RUNS}, told over a pipe both times; the calls alone {} and {}",
            micros(lease.between),
            micros(bare.between),
            micros(lease.alone),
            micros(bare.alone)
        ),
        wanted: "≤ 3".into(),
        met: ratio <= 3.0,
    });
    Ok(())
}
