//! Who has the lease that could not be had, for people and for `status`.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use handover_proto::identity::Epoch;
use handover_sys::lock;
use handover_sys::process::{Liveness, liveness};

use super::slot::{BootId, Record};

/// Why the lock is still held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The process that took the lease lives and has it.
    Alive,
    /// The process that took it has ended, but these inherited its descriptor, so that the kernel
    /// keeps the lock. Empty: processes that this user may not look into.
    Inherited {
        /// The processes with the descriptor.
        by: Vec<u32>,
    },
    /// It was taken in another pid namespace (another container): nothing more is known here.
    Elsewhere,
    /// A program of the beyond-handoff crate has its lock, `.handoff.lock`.
    Handoff,
    /// Nothing is known: it was taken in this very moment, or `/proc` shows nothing.
    Unknown,
}

/// Who has a lease, as far as it can be known from here. The kernel's lock decides; this explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process that took it.
    pub pid: Option<u32>,
    /// How long that process has been running.
    pub running: Option<Duration>,
    /// What it calls itself; empty if it has not said.
    pub name: String,
    /// The epoch it was given.
    pub epoch: Option<Epoch>,
    /// Why the lock is still held.
    pub standing: Standing,
}

impl Holder {
    /// Who holds the lock of `file`, whose last record is `record`.
    pub(super) fn diagnose(file: &File, record: Option<Record>, boot: BootId) -> Self {
        let Some(record) = record.filter(|record| record.boot.is(boot)) else {
            return Self::unrecorded(file);
        };
        let here = pid_namespace();
        let known = |standing, running| Self {
            pid: Some(record.pid),
            running,
            name: record.name.clone(),
            epoch: Some(record.epoch),
            standing,
        };
        if record.pid_namespace != here || here == 0 {
            return known(Standing::Elsewhere, None);
        }
        let running = running(record.start_time);
        match liveness(record.pid, record.start_time) {
            Liveness::Alive => known(Standing::Alive, running),
            Liveness::Unknown => known(Standing::Unknown, running),
            Liveness::Zombie | Liveness::Gone => {
                let by = lock::holders(file).unwrap_or_default().held_by;
                known(Standing::Inherited { by }, None)
            }
        }
    }

    /// Somebody has locked the file and not written who.
    fn unrecorded(file: &File) -> Self {
        let found = lock::holders(file).unwrap_or_default();
        let pid = found.taken_by.filter(|pid| found.held_by.contains(pid));
        let standing = match pid {
            Some(_) => Standing::Alive,
            None if found.held_by.is_empty() => Standing::Unknown,
            None => Standing::Inherited { by: found.held_by },
        };
        Self {
            pid: pid.or(found.taken_by),
            running: None,
            name: String::new(),
            epoch: None,
            standing,
        }
    }

    /// A program of beyond-handoff, by its pid file.
    pub(super) fn handoff(pid: Option<u32>) -> Self {
        Self {
            pid,
            running: None,
            name: String::new(),
            epoch: None,
            standing: Standing::Handoff,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "process {pid}")?,
            None => f.write_str("another process")?,
        }
        let mut facts = Vec::new();
        if !self.name.is_empty() {
            facts.push(self.name.clone());
        }
        facts.extend(self.epoch.map(|epoch| epoch.to_string()));
        let running = self.running.map(|running| running.as_secs());
        facts.extend(running.map(|seconds| format!("running for {seconds} s")));
        if !facts.is_empty() {
            write!(f, " ({})", facts.join(", "))?;
        }
        match &self.standing {
            Standing::Alive => f.write_str(" holds it; stop that process, or hand over from it"),
            Standing::Inherited { by } if by.is_empty() => f.write_str(
                " took it and has ended, but a process that inherited the descriptor holds it; \
                 look for it as root with `fuser` on the lock file",
            ),
            Standing::Inherited { by } => {
                let by: Vec<String> = by.iter().map(u32::to_string).collect();
                write!(
                    f,
                    " took it and has ended, but a process that inherited the descriptor holds it: \
                     {}; stop that one",
                    by.join(", ")
                )
            }
            Standing::Elsewhere => f.write_str(
                " of another pid namespace holds it; stop the other container that has this \
                 directory",
            ),
            Standing::Handoff => f.write_str(
                ", a program with beyond-handoff, holds .handoff.lock; stop it, or hand over from \
                 it",
            ),
            Standing::Unknown => f.write_str(
                " holds it; try again, and if that does not help look for it as root with `fuser` \
                 on the lock file",
            ),
        }
    }
}

/// What names the pid namespace of this process; 0 if `/proc` does not tell.
pub(super) fn pid_namespace() -> u64 {
    fs::metadata("/proc/self/ns/pid").map_or(0, |found| found.ino())
}

/// How long a process has been running that started `ticks` after boot.
fn running(ticks: u64) -> Option<Duration> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let started = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    Duration::try_from_secs_f64(uptime - started).ok()
}
