//! The supervisor's part: a program that is being adopted is the incumbent of the first handover,
//! as if it had outlived an earlier supervisor.

use std::sync::Arc;

use handover_proto::coordinator::{Input, Member, Signal};
use handover_proto::identity::{CandidateId, InstanceId, InstancePid};
use handover_proto::journal::{Observation, Recorded, Recovery, Stance};
use handover_proto::outcome::{Cause, Outcome};
use handover_sys::Pidfd;
use handover_sys::process::is_same_process;
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::farewell;
use super::paths::KeptPaths;
use super::plan::{Plan, Retirement};
use super::taking::Taken;
use crate::supervisor::driver::{Command, Driver};
use crate::supervisor::error::StartError;
use crate::supervisor::process::{self, Process};

/// An adopted program in the journal: a later supervisor finds it by this, since its environment
/// does not name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::supervisor) struct StrangerRecord {
    pub(in crate::supervisor) instance: InstanceId,
    pub(in crate::supervisor) plan: Plan,
}

/// A program that did not expect to be adopted.
#[derive(Debug)]
pub(in crate::supervisor) struct Stranger {
    pub(in crate::supervisor) record: StrangerRecord,
    /// Until it is watched.
    process: Option<Pidfd>,
    /// The first handover is not over: nothing has changed for the program yet.
    pending: bool,
    farewell: Option<Farewell>,
}

/// It was told to go.
#[derive(Debug)]
struct Farewell {
    waiting: Option<AbortHandle>,
    workers: Vec<Pidfd>,
    _paths: KeptPaths,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
    }
}

impl Stranger {
    /// One that is being adopted now; `last` is the highest number an instance has had.
    pub(in crate::supervisor) fn new(taken: Taken, last: InstanceId) -> Self {
        Self {
            record: StrangerRecord {
                instance: last.next(),
                plan: taken.plan,
            },
            process: Some(taken.process),
            pending: true,
            farewell: None,
        }
    }

    /// One that an earlier supervisor adopted, if it is still there.
    pub(in crate::supervisor) fn found(record: Option<StrangerRecord>) -> Option<Self> {
        let record = record?;
        let process = Pidfd::open(record.plan.pid).ok()?;
        let same = is_same_process(record.plan.pid, record.plan.start_time);
        if !same || process.has_ended() {
            return None;
        }
        // That supervisor may have died while it held the program still.
        let _ = process.signal(handover_sys::Signal::CONT);
        for worker in farewell::workers(&record.plan) {
            let _ = worker.signal(handover_sys::Signal::CONT);
        }
        Some(Self {
            record,
            process: Some(process),
            pending: false,
            farewell: None,
        })
    }

    /// Adds it to what a new supervisor sees.
    pub(in crate::supervisor) fn show(&self, observed: &mut Observation) {
        let pid = InstancePid(self.record.plan.pid);
        observed.alive.push((self.record.instance, pid));
    }

    /// What to go on from: it serves, and what is left of earlier instances goes.
    ///
    /// # Errors
    /// An instance of the service serves already.
    pub(in crate::supervisor) fn incumbent(
        &self,
        found: Option<Recovery>,
        first: CandidateId,
    ) -> Result<Recovery, StartError> {
        let instance = self.record.instance;
        let serve = Recorded {
            instance,
            // As if it ran what is to come: then there is no version before that to go back to,
            // since the program started anew would not take the sockets.
            candidate: first,
            pid: Some(InstancePid(self.record.plan.pid)),
        };
        let mut recovery = found.unwrap_or(Recovery::fresh(first, instance));
        match std::mem::replace(&mut recovery.stance, Stance::Serve(serve)) {
            Stance::Serve(other) if other.instance != instance => {
                return Err(StartError::ServesAlready {
                    pid: other.pid.map_or(0, |pid| pid.0),
                });
            }
            Stance::Replace(other) => recovery.retire.push(other),
            Stance::Await(others) => recovery.retire.extend(others),
            Stance::Serve(_) | Stance::Start => {}
        }
        recovery.retire.retain(|other| other.instance != instance);
        recovery.last_instance = recovery.last_instance.max(instance);
        recovery.current = first;
        recovery.previous = None;
        Ok(recovery)
    }
}

impl Driver {
    fn is_adopted(&self, instance: InstanceId) -> bool {
        let stranger = self.adopted.as_ref();
        stranger.is_some_and(|stranger| stranger.record.instance == instance)
    }

    /// Watches it like an instance that outlived its supervisor. False if it is not the stranger.
    pub(in crate::supervisor) fn watch_adopted(&mut self, member: Member) -> bool {
        if !self.is_adopted(member.instance) {
            return false;
        }
        let instance = member.instance;
        let process = self.adopted.as_mut().and_then(|it| it.process.take());
        if let Some(pidfd) = process {
            let mut process = Process::new(member.candidate, pidfd, None);
            process.stranger = true;
            process::watch(instance, process.pidfd.clone(), self.to_self.clone());
            self.processes.insert(instance, process);
        }
        true
    }

    /// Begins the handover from it to the configured program, if it is not over yet.
    pub(in crate::supervisor) fn begin_adoption(&mut self) {
        if !self.adopted.as_ref().is_some_and(|it| it.pending) {
            return;
        }
        self.upgrade_then(|outcome| Command::Adopted { outcome });
    }

    /// Whether a program is being adopted and still serves: until that is over nothing else
    /// begins, and to stop is to leave it alone.
    pub(in crate::supervisor) fn adopts(&self) -> bool {
        let serves = self.machine.incumbent().map(|member| member.instance);
        let pending = self.adopted.as_ref().filter(|it| it.pending);
        pending.is_some_and(|it| serves == Some(it.record.instance))
    }

    /// Gives up the adoption that runs; the program serves on untouched.
    pub(in crate::supervisor) fn give_up_adoption(&mut self) {
        if self.machine.successor().is_some() {
            // The attempt ends, and with it this supervisor.
            return self.tell(Input::Cancel);
        }
        let cause = Cause::Cancelled;
        self.adoption_over(&Outcome::RolledBack { cause });
    }

    /// The handover from it is over.
    pub(in crate::supervisor) fn adoption_over(&mut self, outcome: &Outcome) {
        let Some(stranger) = self.adopted.as_mut().filter(|it| it.pending) else {
            return;
        };
        stranger.pending = false;
        match outcome {
            Outcome::Committed { .. } | Outcome::NobodyServes { .. } => {
                for listener in self.listeners() {
                    listener.keep();
                }
            }
            // It serves on as it did before. The duplicates end with this process.
            Outcome::RolledBack { .. } | Outcome::Refused { .. } | Outcome::TimedOut { .. } => {
                self.exit = Some(outcome.exit_code());
            }
        }
    }

    /// Asks it to go, or kills it. False if it is another instance.
    pub(in crate::supervisor) fn signal_adopted(&mut self, to: InstanceId, signal: Signal) -> bool {
        if !self.is_adopted(to) {
            return false;
        }
        let process = self.processes.get_mut(&to);
        let (Some(process), Some(stranger)) = (process, self.adopted.as_mut()) else {
            return true;
        };
        let master = process.pidfd.clone();
        let plan = Arc::new(stranger.record.plan.clone());
        match (signal, &stranger.farewell) {
            (Signal::Kill, _) => {
                process.killed = true;
                farewell::kill(&master, &plan);
            }
            // Again, so more firmly.
            (Signal::Term, Some(_)) => farewell::tell(&master, &plan),
            (Signal::Term, None) => {
                let paths = KeptPaths::keep(&plan);
                let workers = farewell::workers(&plan);
                let waiting = match plan.retirement {
                    Retirement::Graceful { .. } => {
                        farewell::tell(&master, &plan);
                        None
                    }
                    Retirement::WhenIdle { .. } | Retirement::Still { .. } => {
                        let grace = self.config.settings().ladder.total();
                        let waits = farewell::when_idle(master, plan, grace);
                        Some(tokio::spawn(waits).abort_handle())
                    }
                };
                stranger.farewell = Some(Farewell {
                    waiting,
                    workers,
                    _paths: paths,
                });
            }
        }
        true
    }

    /// An instance has ended; perhaps it is this.
    pub(in crate::supervisor) fn adopted_gone(&mut self, instance: InstanceId) {
        if !self.is_adopted(instance) {
            return;
        }
        let farewell = self.adopted.take().and_then(|mut it| it.farewell.take());
        // Workers without their master would go on accepting.
        for worker in farewell.iter().flat_map(|farewell| &farewell.workers) {
            let _ = worker.signal(handover_sys::Signal::TERM);
        }
    }
}
