//! What machines order of the processes on their nodes.

use std::collections::VecDeque;
use std::sync::Arc;

use handover_hub_proto::identity::{CallId, Epoch, MoveId, NodeId, ProcessId};
use handover_hub_proto::node::{HostFailure, HostOrder, HostReport, Origin};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use super::{Event, Message, World};
use crate::cluster::agenda::MILLISECOND;
use crate::cluster::fault::Fault;
use crate::cluster::host::{Cell, Frame, Landing, Phase, State};
use crate::cluster::network::{Class, RunIndex};

/// Called by tests of failure: it never starts.
pub(super) const REFUSES: &str = "refuses";

impl World {
    /// Takes an order. What takes time is done later; nothing overtakes what came before it for the
    /// same process, since all take the same time unless they are done at once.
    pub(super) fn order(&mut self, run: RunIndex, order: HostOrder) {
        match order {
            HostOrder::Warm { .. } | HostOrder::Activate { .. } if self.random.chance(300) => {
                let pause = self.random.between(0, 20 * MILLISECOND);
                self.agenda.after(pause, Event::Ordered(run, order));
            }
            order => self.carry_out(run, order),
        }
    }

    pub(super) fn carry_out(&mut self, run: RunIndex, order: HostOrder) {
        match order {
            HostOrder::Warm {
                spec,
                epoch,
                attempt,
            } => self.warm(run, &spec, epoch, attempt),
            HostOrder::Activate {
                spec,
                epoch,
                origin,
                role,
                latecomers: _,
            } => self.activate(run, spec, epoch, origin, role),
            HostOrder::Freeze {
                process,
                epoch,
                attempt,
                forced,
            } => self.freeze(run, process, epoch, attempt, forced),
            HostOrder::SendState {
                process,
                attempt,
                to,
                epoch,
            } => self.send_state(run, process, attempt, to, epoch),
            HostOrder::Resume {
                process,
                attempt: _,
                epoch,
            } => self.resume(run, &process, epoch),
            HostOrder::Retire {
                process,
                attempt,
                to,
                epoch,
            } => self.retire(run, &process, attempt, to, epoch),
            HostOrder::Discard { process, attempt } => {
                self.runs[run].host.land(&process, Some(attempt));
            }
            HostOrder::Stop { process, epoch } => self.stop(run, process, epoch),
            HostOrder::Role {
                process,
                epoch,
                role,
            } => self.change_role(run, &process, epoch, role),
            HostOrder::Replicate { process, epoch, to } => self.replicate(run, &process, epoch, to),
            HostOrder::Suspend => self.suspend(run),
            HostOrder::Continue { process, epoch } => self.confirm(run, &process, epoch),
            HostOrder::Merge {
                process,
                attempt,
                epoch,
            } => self.merge(run, process, attempt, epoch),
        }
    }

    fn report(&mut self, run: RunIndex, report: HostReport) {
        self.agenda.after(0, Event::Report(run, report));
    }

    fn warm(&mut self, run: RunIndex, spec: &ChildSpec, epoch: Epoch, attempt: Option<MoveId>) {
        let refuses = spec.id.as_str().starts_with(REFUSES);
        let result = if refuses {
            Err(HostFailure::Refused("it says so".into()))
        } else {
            let landing = Landing {
                attempt,
                epoch,
                arrived: None,
            };
            let host = &mut self.runs[run].host;
            if host.landing(&spec.id, attempt).is_none() {
                let landings = host.landings.entry(spec.id.clone());
                landings.or_default().push(landing);
            }
            Ok(())
        };
        let process = spec.id.clone();
        self.report(
            run,
            HostReport::Warmed {
                process,
                epoch,
                result,
            },
        );
    }

    fn activate(
        &mut self,
        run: RunIndex,
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        origin: Origin,
        role: Role,
    ) {
        let process = spec.id.clone();
        let result = self.begin(run, spec, epoch, origin, role);
        if result.is_ok() {
            self.check_epoch(run, &process, epoch);
            self.check_acting(&process);
            self.serve(run, &process);
        }
        let activated = HostReport::Activated {
            process,
            epoch,
            result,
        };
        self.report(run, activated);
    }

    /// What a node does that has not noticed yet that it stood still for too long has no effect: it
    /// may not act, and will be confirmed before it does.
    fn check_epoch(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        if self.now() < self.engine.valid(run) {
            let checked = self.checker.activated(run, process, epoch);
            self.judge(checked);
        }
    }

    fn begin(
        &mut self,
        run: RunIndex,
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        origin: Origin,
        role: Role,
    ) -> Result<(), HostFailure> {
        let process = spec.id.clone();
        if process.as_str().starts_with(REFUSES) {
            return Err(HostFailure::Refused("it says so".into()));
        }
        let empty = self.fault == Fault::Empty;
        let host = &mut self.runs[run].host;
        let (state, queue) = match origin {
            Origin::Handed(attempt) => {
                let arrived = host.landing(&process, Some(attempt));
                if arrived.is_none_or(|landing| landing.arrived.is_none()) {
                    return Err(HostFailure::NotHere);
                }
                let landing = host.land(&process, Some(attempt));
                self.checker.counts.moved += 1;
                match landing.and_then(|landing| landing.arrived) {
                    Some((_, queue)) if empty => (State::default(), queue),
                    arrived => arrived.unwrap_or_default(),
                }
            }
            Origin::Fresh => {
                host.land(&process, None);
                self.checker.counts.fresh += 1;
                self.checker.child(&process).fresh += 1;
                self.incarnations += 1;
                let state = State {
                    incarnation: self.incarnations,
                    ..State::default()
                };
                (state, VecDeque::new())
            }
            Origin::Replica => {
                self.checker.counts.replicas += 1;
                let state = host.replicas.remove(&process).unwrap_or_default();
                (state, VecDeque::new())
            }
        };
        let cell = Cell {
            spec,
            epoch,
            role,
            phase: Phase::Open,
            suspended: false,
            state,
            queue,
            busy: None,
            begun: 0,
            replicas: Vec::new(),
        };
        host.went.remove(&process);
        host.cells.insert(process, cell);
        Ok(())
    }

    fn freeze(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        epoch: Epoch,
        attempt: MoveId,
        forced: bool,
    ) {
        let stubborn = self.stubborn.contains(&process) && !forced;
        let unfrozen = self.fault == Fault::Unfrozen;
        let cell = self.runs[run].host.cells.get_mut(&process);
        let cell = cell.filter(|cell| cell.epoch == epoch);
        let result = match cell {
            None => Err(HostFailure::NotHere),
            Some(_) if stubborn => Err(HostFailure::Deferred),
            Some(cell) => {
                cell.phase = if unfrozen {
                    Phase::Open
                } else {
                    Phase::Freezing(attempt)
                };
                Ok(())
            }
        };
        if result.is_err() || unfrozen {
            let frozen = HostReport::Frozen {
                process,
                attempt,
                result,
            };
            self.report(run, frozen);
        } else {
            self.freeze_if_idle(run, &process);
        }
    }

    /// A process that was asked to freeze does so when it has finished its message.
    pub(super) fn freeze_if_idle(&mut self, run: RunIndex, process: &ProcessId) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        if let (Phase::Freezing(attempt), None) = (cell.phase, cell.busy) {
            cell.phase = Phase::Frozen(attempt);
            let frozen = HostReport::Frozen {
                process: process.clone(),
                attempt,
                result: Ok(()),
            };
            self.report(run, frozen);
        }
    }

    fn send_state(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        attempt: MoveId,
        to: NodeId,
        epoch: Epoch,
    ) {
        let unfrozen = self.fault == Fault::Unfrozen;
        let to = self.by_id.get(&to).copied();
        let cell = self.runs[run].host.cells.get_mut(&process);
        let cell = cell.filter(|cell| cell.phase == Phase::Frozen(attempt) || unfrozen);
        let (Some(cell), Some(to)) = (cell, to) else {
            let sent = HostReport::StateSent {
                process,
                attempt,
                result: Err(HostFailure::NotHere),
            };
            return self.report(run, sent);
        };
        let (state, queue) = (cell.state.clone(), cell.queue.clone());
        let slow = self.random.chance(50);
        let most = if slow { 3_000 } else { 10 };
        let size = self.random.between(0, most) * MILLISECOND;
        let sending = (process.clone(), attempt, to);
        self.runs[run].host.sending.push(sending);
        let frame = Frame::State {
            process,
            attempt,
            epoch,
            state,
            queue,
        };
        self.send(run, to, Class::States, size, frame);
    }

    /// A state arrives. Whether somebody waits for it.
    pub(super) fn land(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        attempt: MoveId,
        arrived: (State, VecDeque<CallId>),
    ) -> bool {
        let landing = self.runs[run].host.landing(process, Some(attempt));
        let Some(landing) = landing else {
            return false;
        };
        landing.arrived.get_or_insert(arrived);
        true
    }

    fn resume(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        cell.phase = Phase::Open;
        cell.epoch = epoch;
        self.checker.counts.resumed += 1;
        self.check_epoch(run, process, epoch);
        self.check_acting(process);
        self.serve_again(run, process);
    }

    /// What waited while a process stood still is answered or applied now.
    fn serve_again(&mut self, run: RunIndex, process: &ProcessId) {
        self.freeze_if_idle(run, process);
        self.serve(run, process);
    }

    fn retire(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        attempt: MoveId,
        to: NodeId,
        epoch: Epoch,
    ) {
        let host = &mut self.runs[run].host;
        let frozen = |cell: &Cell| {
            cell.phase == Phase::Frozen(attempt) || cell.phase == Phase::Freezing(attempt)
        };
        if !host.cells.get(process).is_some_and(frozen) && self.fault != Fault::Unfrozen {
            return;
        }
        let Some(cell) = host.cells.remove(process) else {
            return;
        };
        host.went.insert(process.clone(), (to, epoch));
        let calls: Vec<_> = cell.queue.into_iter().collect();
        if let Some(to) = self.by_id.get(&to).copied().filter(|_| !calls.is_empty()) {
            if self.fault == Fault::Swallowed {
                for call in calls {
                    let state = cell.state.incarnation;
                    let caller = self.by_id.get(&call.caller).copied().unwrap_or(run);
                    let frame: Frame<Message> = Frame::Reply {
                        process: process.clone(),
                        call,
                        incarnation: state,
                    };
                    self.send(run, caller, Class::Calls, 0, frame);
                }
                return;
            }
            let process = process.clone();
            let frame = Frame::Forward { process, calls };
            self.send(run, to, Class::Calls, 0, frame);
        }
    }

    fn stop(&mut self, run: RunIndex, process: ProcessId, epoch: Epoch) {
        let host = &mut self.runs[run].host;
        if host
            .cells
            .get(&process)
            .is_some_and(|cell| cell.epoch <= epoch)
        {
            host.cells.remove(&process);
        }
        host.land(&process, None);
        let crash = None;
        let ended = HostReport::Ended {
            process,
            epoch,
            crash,
        };
        self.report(run, ended);
    }

    fn change_role(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch, role: Role) {
        if let Some(cell) = self.runs[run].host.cells.get_mut(process) {
            cell.role = role;
            cell.epoch = epoch;
            self.check_acting(process);
            self.serve_again(run, process);
        }
    }

    fn replicate(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch, to: Vec<NodeId>) {
        let cell = self.runs[run].host.cells.get_mut(process);
        let Some(cell) = cell.filter(|cell| cell.epoch == epoch) else {
            return;
        };
        cell.replicas.clone_from(&to);
        let state = cell.state.clone();
        for replica in to {
            if let Some(to) = self.by_id.get(&replica).copied() {
                let frame = Frame::Replica {
                    process: process.clone(),
                    state: state.clone(),
                    answer: None,
                };
                self.send(run, to, Class::Calls, 0, frame);
            }
        }
    }

    fn suspend(&mut self, run: RunIndex) {
        let host = &mut self.runs[run].host;
        host.suspended = true;
        for cell in host.cells.values_mut() {
            cell.suspended = true;
        }
    }

    fn confirm(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        cell.suspended = false;
        cell.epoch = epoch;
        self.checker.counts.confirmed += 1;
        self.check_epoch(run, process, epoch);
        self.check_acting(process);
        self.serve_again(run, process);
    }

    /// The state of a copy that ran apart is added: no call that either applied is lost.
    fn merge(&mut self, run: RunIndex, process: ProcessId, attempt: MoveId, epoch: Epoch) {
        let host = &mut self.runs[run].host;
        let landing = host.land(&process, Some(attempt));
        let arrived = landing.and_then(|landing| landing.arrived);
        let result = match (host.cells.get_mut(&process), arrived) {
            (Some(cell), Some((state, queue))) => {
                cell.state.applied.extend(state.applied);
                cell.epoch = epoch;
                for call in queue {
                    if !cell.state.applied.contains(&call) && !cell.waits(call) {
                        cell.queue.push_back(call);
                    }
                }
                self.checker.counts.merged += 1;
                Ok(())
            }
            _ => Err(HostFailure::NotHere),
        };
        let merged = HostReport::Merged {
            process: process.clone(),
            attempt,
            result,
        };
        self.report(run, merged);
        self.serve_again(run, &process);
    }
}
