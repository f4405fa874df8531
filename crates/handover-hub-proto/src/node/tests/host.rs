//! Hosts that do at once what they are told, and keep a number for every process.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use crate::identity::{Epoch, MoveId, NodeId, ProcessId};
use crate::node::{HostFailure, HostOrder, HostReport, Origin};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Now {
    Answers,
    Frozen(MoveId),
}

struct Running {
    epoch: Epoch,
    now: Now,
    value: u64,
}

/// A state on its way.
pub(crate) struct Moved {
    process: ProcessId,
    attempt: MoveId,
    value: u64,
}

#[derive(Default)]
pub(crate) struct Hosts {
    all: BTreeMap<ProcessId, Running>,
    arrived: BTreeMap<(ProcessId, MoveId), u64>,
    unconfirmed: Vec<ProcessId>,
    reports: VecDeque<HostReport>,
    sends: VecDeque<(NodeId, Moved)>,
    /// States for passive replicas.
    fills: VecDeque<(NodeId, ProcessId)>,
    /// Those that refuse to start.
    pub(crate) broken: Vec<ProcessId>,
    /// Those that defer.
    pub(crate) busy: Vec<ProcessId>,
    /// Nothing can be moved here.
    pub(crate) refuses_moves: bool,
    /// Nothing is reported while set.
    pub(crate) silent: bool,
    /// Nothing is stopped while set: those that are to be answer still.
    pub(crate) lingers: bool,
    stops: Vec<HostOrder>,
    /// How often everything was told to stand still.
    pub(crate) suspended: u32,
}

impl Hosts {
    pub(crate) fn report(&mut self) -> Option<HostReport> {
        if self.silent {
            return None;
        }
        self.reports.pop_front()
    }

    pub(crate) fn sent(&mut self) -> Option<(NodeId, Moved)> {
        self.sends.pop_front()
    }

    pub(crate) fn fills(&mut self) -> Option<(NodeId, ProcessId)> {
        self.fills.pop_front()
    }

    /// The state of the active replica has reached a passive one here.
    pub(crate) fn fill(&mut self, process: ProcessId) {
        if let Some(running) = self.all.get(&process) {
            let epoch = running.epoch;
            self.reports
                .push_back(HostReport::Filled { process, epoch });
        }
    }

    pub(crate) fn answers(&self, process: &ProcessId) -> bool {
        let running = self.all.get(process);
        let still = self.unconfirmed.contains(process);
        !still && running.is_some_and(|running| running.now == Now::Answers)
    }

    pub(crate) fn value(&mut self, process: &ProcessId) -> Option<&mut u64> {
        Some(&mut self.all.get_mut(process)?.value)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn answering(&self) -> usize {
        let all = self.all.values();
        all.filter(|running| running.now == Now::Answers).count()
    }

    /// It ends by itself.
    pub(crate) fn end(&mut self, process: &ProcessId) {
        let running = self.all.remove(process).expect("it runs here");
        self.reports.push_back(HostReport::Ended {
            process: process.clone(),
            epoch: running.epoch,
            crash: None,
        });
    }

    pub(crate) fn arrive(&mut self, moved: Moved) {
        let key = (moved.process.clone(), moved.attempt);
        self.arrived.insert(key, moved.value);
        self.reports.push_back(HostReport::StateArrived {
            process: moved.process,
            attempt: moved.attempt,
            result: Ok(()),
        });
    }

    /// What was to be stopped is stopped.
    pub(crate) fn stop_now(&mut self) {
        self.lingers = false;
        for order in core::mem::take(&mut self.stops) {
            self.order(order);
        }
    }

    pub(crate) fn order(&mut self, order: HostOrder) {
        match order {
            HostOrder::Stop { .. } if self.lingers => self.stops.push(order),
            HostOrder::Warm { spec, epoch, .. } if self.refuses_moves => {
                self.reports.push_back(HostReport::Warmed {
                    process: spec.id.clone(),
                    epoch,
                    result: Err(HostFailure::UnknownKind),
                });
            }
            HostOrder::Warm { spec, epoch, .. } => {
                // Beside what may still run of it.
                self.reports.push_back(HostReport::Warmed {
                    process: spec.id.clone(),
                    epoch,
                    result: Ok(()),
                });
            }
            HostOrder::Activate {
                spec,
                epoch,
                origin,
                ..
            } => self.activate(spec.id.clone(), epoch, origin),
            HostOrder::Stop { process, epoch } => {
                let is_it = |running: &Running| running.epoch == epoch;
                if !self.all.get(&process).is_some_and(is_it) {
                    return;
                }
                if let Some(running) = self.all.remove(&process) {
                    self.reports.push_back(HostReport::Ended {
                        process,
                        epoch: running.epoch,
                        crash: None,
                    });
                }
            }
            HostOrder::Role { process, epoch, .. } => {
                self.renew(&process, epoch);
                self.reports.push_back(HostReport::Activated {
                    process,
                    epoch,
                    result: Ok(()),
                });
            }
            HostOrder::Suspend => {
                self.suspended += 1;
                self.unconfirmed = self.all.keys().cloned().collect();
            }
            HostOrder::Continue { process, epoch } => {
                self.unconfirmed.retain(|id| *id != process);
                self.renew(&process, epoch);
            }
            HostOrder::Replicate { process, to, .. } => {
                let to = to.into_iter().map(|node| (node, process.clone()));
                self.fills.extend(to);
            }
            other => self.migrate(other),
        }
    }

    fn freeze(
        &mut self,
        process: &ProcessId,
        attempt: MoveId,
        forced: bool,
    ) -> Result<(), HostFailure> {
        let deferred = self.busy.contains(process) && !forced;
        match self.all.get_mut(process) {
            None => Err(HostFailure::NotHere),
            Some(_) if deferred => Err(HostFailure::Deferred),
            Some(running) => {
                running.now = Now::Frozen(attempt);
                Ok(())
            }
        }
    }

    fn migrate(&mut self, order: HostOrder) {
        match order {
            HostOrder::Freeze {
                process,
                attempt,
                forced,
                ..
            } => {
                let result = self.freeze(&process, attempt, forced);
                self.reports.push_back(HostReport::Frozen {
                    process,
                    attempt,
                    result,
                });
            }
            HostOrder::SendState {
                process,
                attempt,
                to,
                ..
            } => {
                let moved = Moved {
                    process: process.clone(),
                    attempt,
                    value: self.all.get(&process).map_or(0, |running| running.value),
                };
                self.sends.push_back((to, moved));
                self.reports.push_back(HostReport::StateSent {
                    process,
                    attempt,
                    result: Ok(()),
                });
            }
            HostOrder::Resume { process, epoch, .. } => {
                if let Some(running) = self.all.get_mut(&process) {
                    running.now = Now::Answers;
                    running.epoch = epoch;
                }
            }
            HostOrder::Retire {
                process, attempt, ..
            } => {
                // As a cell does: what did not freeze for this move goes on.
                let frozen = Now::Frozen(attempt);
                if self.all.get(&process).is_some_and(|it| it.now == frozen) {
                    self.all.remove(&process);
                }
            }
            HostOrder::Merge {
                process,
                attempt,
                epoch,
            } => {
                let other = self.arrived.remove(&(process.clone(), attempt));
                if let (Some(running), Some(other)) = (self.all.get_mut(&process), other) {
                    running.value += other;
                    running.epoch = epoch;
                }
                self.reports.push_back(HostReport::Merged {
                    process,
                    attempt,
                    result: Ok(()),
                });
            }
            HostOrder::Discard { process, attempt } => {
                self.arrived.remove(&(process, attempt));
            }
            _ => {}
        }
    }

    fn renew(&mut self, process: &ProcessId, epoch: Epoch) {
        if let Some(running) = self.all.get_mut(process) {
            running.epoch = epoch;
        }
    }

    fn run(&mut self, process: ProcessId, epoch: Epoch, now: Now, value: u64) {
        self.unconfirmed.retain(|id| *id != process);
        self.all.insert(process, Running { epoch, now, value });
    }

    fn activate(&mut self, process: ProcessId, epoch: Epoch, origin: Origin) {
        if self.broken.contains(&process) {
            self.reports.push_back(HostReport::Activated {
                process,
                epoch,
                result: Err(HostFailure::Refused(String::from("it is broken"))),
            });
            return;
        }
        let value = match origin {
            Origin::Handed(attempt) => self.arrived.remove(&(process.clone(), attempt)),
            Origin::Replica => self.all.get(&process).map(|running| running.value),
            Origin::Fresh => Some(0),
        };
        self.run(process.clone(), epoch, Now::Answers, value.unwrap_or(0));
        self.reports.push_back(HostReport::Activated {
            process,
            epoch,
            result: Ok(()),
        });
    }
}
