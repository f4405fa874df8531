//! The processes of an instance.
//!
//! As a rule they are its process group. In development an instance shares the terminal, and with it
//! the process group, with the supervisor. There its processes are known by their environment, which
//! children inherit, as long as they stay in the session: a daemon that some build tool leaves behind
//! has left it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use handover_proto::identity::InstanceId;
use handover_sys::process::{process_group_members, session};
use handover_sys::{Pidfd, Signal};

use super::adoption;
use super::config::Config;
use super::driver::Driver;

/// Between two looks at processes that are to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How the processes of an instance are told from others.
enum Bond {
    /// They are in the process group of this one.
    Group(u32),
    /// Their environment names the service's directory, and this instance if any.
    Environment(PathBuf, Option<InstanceId>),
}

/// The processes of an instance, or of all instances, besides the one that was started.
pub(super) struct Kin {
    leader: Option<u32>,
    bond: Bond,
}

impl Driver {
    /// Those of an instance whose first process is, or was, `leader`.
    pub(super) fn kin(&self, instance: InstanceId, leader: u32) -> Kin {
        let bond = match self.config.attended {
            true => Bond::Environment(self.dir.clone(), Some(instance)),
            false => Bond::Group(leader),
        };
        let leader = Some(leader);
        Kin { leader, bond }
    }

    /// Nobody is left on a terminal that is given back.
    pub(super) async fn clear_terminal(&self) {
        if self.config.attended {
            let bond = Bond::Environment(self.dir.clone(), None);
            let everybody = Kin { leader: None, bond };
            let kill_after = self.config.kill_after;
            everybody.see_off(Duration::ZERO, kill_after).await;
        }
    }
}

impl Kin {
    fn members(&self) -> Vec<u32> {
        let all: Vec<u32> = match &self.bond {
            Bond::Group(leader) => process_group_members(*leader).unwrap_or_default(),
            Bond::Environment(..) => {
                let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
                let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
                pids.filter(|pid| self.includes(*pid)).collect()
            }
        };
        let other = |pid: &u32| Some(*pid) != self.leader;
        all.into_iter().filter(other).collect()
    }

    /// Whether a process is one of them.
    pub(super) fn includes(&self, pid: u32) -> bool {
        match &self.bond {
            Bond::Group(leader) => adoption::process_group(pid) == Some(*leader),
            Bond::Environment(dir, instance) => {
                let found = adoption::instance_of(pid, dir);
                found.is_some() && (instance.is_none() || found == *instance) && in_session(pid)
            }
        }
    }

    /// Signals all of them. Each is opened before all are looked up again, so that a reused number
    /// is never hit.
    pub(super) fn signal(&self, signal: Signal) {
        let pids = self.members().into_iter();
        let opened: Vec<Pidfd> = pids.filter_map(|pid| Pidfd::open(pid).ok()).collect();
        if opened.is_empty() {
            return;
        }
        let still = self.members();
        for process in opened
            .iter()
            .filter(|process| still.contains(&process.pid()))
        {
            let _ = process.signal(signal);
        }
    }

    /// The first process has ended, and the others have to. In development nobody is left behind:
    /// those who were told already have their time, then they are told again, then killed.
    pub(super) fn end(self, told: bool, config: &Config) {
        if !config.attended {
            return self.signal(Signal::TERM);
        }
        let patience = match told {
            true => config.drain_grace,
            false => Duration::ZERO,
        };
        let kill_after = config.kill_after;
        tokio::spawn(async move { self.see_off(patience, kill_after).await });
    }

    async fn see_off(&self, patience: Duration, kill_after: Duration) {
        for (patience, signal) in [(patience, Signal::TERM), (kill_after, Signal::KILL)] {
            if self.are_gone_within(patience).await {
                return;
            }
            self.signal(signal);
        }
    }

    async fn are_gone_within(&self, patience: Duration) -> bool {
        let began = Instant::now();
        loop {
            if self.members().is_empty() {
                return true;
            }
            if began.elapsed() >= patience {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY.min(patience)).await;
        }
    }
}

fn in_session(pid: u32) -> bool {
    // Not by getsid(2) of rustix, whose type has no room for the 0 of another pid namespace.
    let (theirs, ours) = (session(pid), session(std::process::id()));
    matches!((theirs, ours), (Ok(theirs), Ok(ours)) if theirs == ours)
}
