//! Processes of the benchmark that say in lines on standard error what they did and when.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::network::{Network, Place};
use crate::Failure;

/// How long a process may take to say what is expected next.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a process may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// One thing that a process said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It listens.
    Ready,
    /// It is about to announce the peer of this port.
    Announced(u16, Duration),
    /// The callback of the peer of this port has begun.
    Entered(u16, Duration),
    /// So many datagrams came to this port since its start; port 0 ends an answer.
    Heard(u16, u64),
}

impl Said {
    /// `None` for what is not one of these, such as a warning.
    fn parse(line: &str) -> Option<Self> {
        // A program writes to the same end as its supervisor, perhaps in the middle of a line.
        let stamps = ["announced ", "entered "];
        let at = stamps.iter().find_map(|word| line.find(word));
        let line = line.get(at.unwrap_or_default()..).unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        let nanos = |word: &str| word.parse().ok().map(Duration::from_nanos);
        Some(match words[..] {
            ["ready"] => Self::Ready,
            ["announced", port, at] => Self::Announced(port.parse().ok()?, nanos(at)?),
            ["entered", port, at] => Self::Entered(port.parse().ok()?, nanos(at)?),
            ["heard", port, count] => Self::Heard(port.parse().ok()?, count.parse().ok()?),
            _ => return None,
        })
    }
}

/// The clock of the stamps, the same in all namespaces.
pub(super) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(time).unwrap_or_default()
}

/// Says a stamp of the peer of this port.
pub(super) fn stamp(word: &str, port: u16, at: Duration) {
    // Written at once, in one call: lines of several threads do not mix.
    let line = format!("{word} {port} {}\n", at.as_nanos());
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Processes that are heard together; ended when dropped.
pub(super) struct Group {
    children: Vec<(Child, Option<ChildStdin>)>,
    sender: Sender<Said>,
    said: Receiver<Said>,
    /// What else was said last, shown when something is missing.
    other: Arc<Mutex<VecDeque<String>>>,
    /// For the files that tell a platform that a container may go.
    directory: tempfile::TempDir,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not killed at once: a supervisor ends its program.
        for (child, _) in &self.children {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        }
        let deadline = Instant::now() + GRACE;
        for (child, _) in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Group {
    pub(super) fn new() -> Result<Self, Failure> {
        let (sender, said) = mpsc::channel();
        Ok(Self {
            children: Vec::new(),
            sender,
            said,
            other: Arc::default(),
            directory: tempfile::tempdir()?,
        })
    }

    pub(super) fn start(&mut self, mut command: Command) -> Result<(), Failure> {
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let stderr = child.stderr.take().ok_or("no standard error")?;
        self.children.push((child, stdin));
        let (sender, other) = (self.sender.clone(), Arc::clone(&self.other));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                match Said::parse(&line) {
                    Some(said) if sender.send(said).is_err() => return,
                    Some(_) => {}
                    None => keep(&other, line),
                }
            }
        });
        Ok(())
    }

    pub(super) fn pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(|(child, _)| child.id())
    }

    /// What is said next, or `None` at the deadline.
    pub(super) fn next(&self, deadline: Instant) -> Result<Option<Said>, Failure> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.said.recv_timeout(left) {
            Ok(said) => Ok(Some(said)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("the processes are gone".into()),
        }
    }

    /// Waits until so many things were said for which the question has an answer.
    pub(super) fn gather<T>(
        &self,
        count: usize,
        patience: Duration,
        question: impl Fn(Said) -> Option<T>,
    ) -> Result<Vec<T>, Failure> {
        let deadline = Instant::now() + patience;
        let mut answers = Vec::new();
        while answers.len() < count {
            let Some(said) = self.next(deadline)? else {
                let heard = answers.len();
                let other: Vec<String> = self
                    .other
                    .lock()
                    .map_err(|_| "a reader failed")?
                    .drain(..)
                    .collect();
                let other = other.join("\n");
                return Err(
                    format!("{heard} of {count} after {patience:?}; said:\n{other}").into(),
                );
            };
            answers.extend(question(said));
        }
        Ok(answers)
    }

    /// Waits until all processes listen.
    pub(super) fn ready(&self) -> Result<(), Failure> {
        let ready = |said| matches!(said, Said::Ready).then_some(());
        self.gather(self.children.len(), PATIENCE, ready).map(drop)
    }

    /// Tells one process after the other to go on.
    pub(super) fn tell(&mut self, pause: Duration) -> Result<(), Failure> {
        for (_, stdin) in &mut self.children {
            stdin
                .as_mut()
                .ok_or("already told to end")?
                .write_all(b"\n")?;
            std::thread::sleep(pause);
        }
        Ok(())
    }
}

/// Keeps the last lines.
fn keep(lines: &Mutex<VecDeque<String>>, line: String) {
    const MOST: usize = 50;
    if let Ok(mut lines) = lines.lock() {
        if lines.len() == MOST {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Whose peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the npm package handover-lib.
    Theirs,
    /// Of the library.
    Ours,
}

impl Kind {
    /// Peers of as many services as there are ports, in one namespace: one process of theirs, as many as
    /// there are ports of ours.
    pub(super) fn start(
        self,
        network: &Network,
        place: Place,
        ports: std::ops::Range<u16>,
    ) -> Result<Group, Failure> {
        let role = match place {
            Place::Old => "old",
            Place::Young | Place::Between => "young",
        };
        let mut group = Group::new()?;
        match self {
            Self::Theirs => group.start(theirs(network, place, role, ports)?)?,
            Self::Ours => {
                for port in ports {
                    let mut command = ours(network, place, port)?;
                    let file = group.directory.path().join(port.to_string());
                    command.env("BALENA_SERVICE_HANDOVER_COMPLETE_PATH", file);
                    group.start(command)?;
                }
            }
        }
        Ok(group)
    }
}

/// Tells where the npm package is installed.
pub(super) const PACKAGE: &str = "HANDOVER_TEST_HANDOVER_LIB";

fn theirs(
    network: &Network,
    place: Place,
    role: &str,
    ports: std::ops::Range<u16>,
) -> Result<Command, Failure> {
    let modules = std::env::var_os(PACKAGE).ok_or_else(|| {
        format!("{PACKAGE} is not set; `cargo xtask bench containers` installs the package")
    })?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/handover-lib.js");
    let mut command = network.command(place, "node".as_ref());
    command.arg(script);
    command.args([role, &ports.start.to_string(), &ports.len().to_string()]);
    command.env("NODE_PATH", modules);
    // Its log at `info` is three lines before the datagram is sent; without it they are faster.
    command.env("LOGLEVEL", "crit");
    Ok(command)
}

/// What is added to the port of the one wire for the other's.
pub(super) const SECOND: u16 = 10_000;

fn ours(network: &Network, place: Place, port: u16) -> Result<Command, Failure> {
    let mut command = network.command(place, &std::env::current_exe()?);
    command.args(["containers", "peer", &port.to_string()]);
    command.env("SHUTDOWN_PORT", port.to_string());
    command.env("HANDOVER_PEER_PORT", (port + SECOND).to_string());
    Ok(command)
}
