//! What machines order of the processes on their nodes.

use std::collections::VecDeque;
use std::sync::Arc;

use handover_hub_proto::identity::{Epoch, MoveId, NodeId, ProcessId};
use handover_hub_proto::mailbox::{Limits, Mailbox, OPENING_MAX, Phase, Released};
use handover_hub_proto::node::{HostFailure, HostOrder, HostReport, Origin};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;

use super::{Event, World};
use crate::cluster::agenda::{MILLISECOND, SECOND};
use crate::cluster::checker::Wanted;
use crate::cluster::fault::Fault;
use crate::cluster::host::{Answer, Called, Cell, Landing, Replicas, State};
use crate::cluster::network::RunIndex;

/// Called by tests of failure: it never starts.
pub(super) const REFUSES: &str = "refuses";

/// How long a process waits for the latecomers of its source.
const OPENING: u64 = OPENING_MAX.as_secs() * SECOND;

/// Which process an order is for; none if for all.
fn subject(order: &HostOrder) -> Option<&ProcessId> {
    match order {
        HostOrder::Warm { spec, .. } | HostOrder::Activate { spec, .. } => Some(&spec.id),
        HostOrder::Freeze { process, .. }
        | HostOrder::SendState { process, .. }
        | HostOrder::Resume { process, .. }
        | HostOrder::Retire { process, .. }
        | HostOrder::Discard { process, .. }
        | HostOrder::Stop { process, .. }
        | HostOrder::Role { process, .. }
        | HostOrder::Replicate { process, .. }
        | HostOrder::Continue { process, .. }
        | HostOrder::Merge { process, .. } => Some(process),
        HostOrder::Suspend => None,
    }
}

impl World {
    /// Takes an order. Some take time; what is ordered of the same process then waits for it.
    pub(super) fn order(&mut self, run: RunIndex, order: HostOrder) {
        let Some(process) = subject(&order).cloned() else {
            return self.suspend(run);
        };
        let takes_time = matches!(order, HostOrder::Warm { .. } | HostOrder::Activate { .. });
        let pause = if takes_time && self.random.chance(300) {
            self.random.between(1, 20 * MILLISECOND)
        } else {
            0
        };
        let pause = pause + self.lateness(run);
        if self.overtakes(&order) {
            return self.carry_out(run, order, false);
        }
        let pending = &mut self.runs[run].host.pending;
        if let Some(pending) = pending.get_mut(&process) {
            pending.push_back((order, false));
        } else if pause > 0 {
            pending.insert(process.clone(), VecDeque::from([(order, false)]));
            self.agenda.after(pause, Event::Ordered(run, process));
        } else {
            self.carry_out(run, order, false);
        }
    }

    /// There is time for what is ordered of a process.
    pub(super) fn ordered(&mut self, run: RunIndex, process: &ProcessId) {
        let pending = self.runs[run].host.pending.remove(process);
        for (order, still) in pending.into_iter().flatten() {
            match self.runs[run].host.pending.get_mut(process) {
                Some(pending) => pending.push_back((order, still)),
                None => self.carry_out(run, order, still),
            }
        }
    }

    /// Whether an order is done at once, whatever else the process was ordered.
    fn overtakes(&self, order: &HostOrder) -> bool {
        self.plan.lag.orders > 0 && matches!(order, HostOrder::Continue { .. })
    }

    /// `still`: everything was told to stand still after this was ordered.
    fn carry_out(&mut self, run: RunIndex, order: HostOrder, still: bool) {
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
                latecomers,
            } => self.activate(run, spec, epoch, (origin, role, latecomers, still)),
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
                epoch: _,
            } => self.send_state(run, process, attempt, to),
            HostOrder::Resume { process, epoch, .. } => self.resume(run, &process, epoch),
            HostOrder::Retire {
                process,
                attempt,
                to,
                epoch,
            } => self.retire(run, &process, attempt, to, epoch),
            HostOrder::Discard { process, attempt } => self.discard(run, &process, attempt),
            HostOrder::Stop { process, epoch } => self.stop(run, process, epoch),
            HostOrder::Role {
                process,
                epoch,
                role,
            } => self.change_role(run, process, epoch, role),
            HostOrder::Replicate { process, to, .. } => self.replicate(run, &process, &to),
            HostOrder::Suspend => self.suspend(run),
            HostOrder::Continue { process, epoch } => self.confirm(run, &process, epoch),
            HostOrder::Merge {
                process,
                attempt,
                epoch,
            } => self.merge(run, process, attempt, epoch),
        }
    }

    pub(super) fn report(&mut self, run: RunIndex, report: HostReport) {
        self.agenda.after(0, Event::Report(run, report));
    }

    fn warm(&mut self, run: RunIndex, spec: &ChildSpec, epoch: Epoch, attempt: Option<MoveId>) {
        let refuses = spec.id.as_str().starts_with(REFUSES);
        let result = if refuses {
            Err(HostFailure::Refused("it says so".into()))
        } else {
            let host = &mut self.runs[run].host;
            if host.landing(&spec.id, attempt).is_none() {
                let landing = Landing {
                    attempt,
                    mailbox: Mailbox::restoring(),
                    arrived: None,
                };
                let landings = host.landings.entry(spec.id.clone());
                landings.or_default().push(landing);
            }
            Ok(())
        };
        let process = spec.id.clone();
        let warmed = HostReport::Warmed {
            process,
            epoch,
            result,
        };
        self.report(run, warmed);
    }

    fn activate(
        &mut self,
        run: RunIndex,
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        how: (Origin, Role, Option<NodeId>, bool),
    ) {
        let process = spec.id.clone();
        let role = how.1;
        let result = self.bring_up(run, spec, epoch, how);
        let result = result.map(|released| {
            if role == Role::Active {
                self.check_epoch(run, &process, epoch);
            }
            self.check_acting(&process);
            self.release(run, &process, released);
        });
        let claims = self.fault == Fault::Unfilled && role == Role::Passive;
        let activated = HostReport::Activated {
            process: process.clone(),
            epoch,
            result,
        };
        self.report(run, activated);
        if claims {
            self.report(run, HostReport::Filled { process, epoch });
        }
    }

    /// What a node does that has not noticed yet that it stood still for too long has no effect, nor
    /// has what stands still: it may not act, and will be confirmed before it does.
    pub(super) fn check_epoch(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let cell = self.runs[run].host.cells.get(process);
        let still = cell.is_some_and(|cell| cell.mailbox.is_suspended());
        if !still && self.now() < self.valid(run) {
            let checked = self.checker.activated(run, process, epoch);
            self.judge(checked);
        }
    }

    fn bring_up(
        &mut self,
        run: RunIndex,
        spec: Arc<ChildSpec>,
        epoch: Epoch,
        (origin, role, latecomers, still): (Origin, Role, Option<NodeId>, bool),
    ) -> Result<Released<Called, Answer>, HostFailure> {
        let process = spec.id.clone();
        if process.as_str().starts_with(REFUSES) {
            return Err(HostFailure::Refused("it says so".into()));
        }
        let empty = self.fault == Fault::Empty;
        let host = &mut self.runs[run].host;
        let (state, mut mailbox) = match origin {
            Origin::Handed(attempt) => {
                let arrived = host.landing(&process, Some(attempt));
                if arrived.is_none_or(|landing| landing.arrived.is_none()) {
                    return Err(HostFailure::NotHere);
                }
                let landing = host.land(&process, Some(attempt));
                let landing = landing.ok_or(HostFailure::NotHere)?;
                self.checker.counts.moved += 1;
                let state = landing.arrived.map(|(state, _)| state);
                let state = state.filter(|_| !empty).unwrap_or_default();
                (state, landing.mailbox)
            }
            Origin::Fresh => {
                let landing = host.land(&process, None);
                self.checker.counts.fresh += 1;
                self.checker.child(&process).fresh += 1;
                self.incarnations += 1;
                let state = State {
                    incarnation: self.incarnations,
                    ..State::default()
                };
                let mailbox = landing.map_or_else(Mailbox::restoring, |landing| landing.mailbox);
                (state, mailbox)
            }
            Origin::Replica => {
                self.checker.counts.replicas += 1;
                host.take_over(&process)
            }
        };
        if still {
            mailbox.suspend();
        }
        let released = mailbox.activate(latecomers.is_some(), &Limits::default());
        let cell = Cell {
            spec,
            epoch,
            role,
            mailbox,
            attempt: None,
            state,
            busy: None,
            begun: 0,
            replicas: Replicas::default(),
        };
        host.went.remove(&process);
        host.replicas.remove(&process);
        let before = host.cells.insert(process.clone(), cell);
        let letters = before.map_or_else(Vec::new, |cell| cell.mailbox.close());
        self.turn_away(run, &process, letters);
        self.await_latecomers(run, process, epoch, latecomers);
        Ok(released)
    }

    fn await_latecomers(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        epoch: Epoch,
        latecomers: Option<NodeId>,
    ) {
        if let Some(source) = latecomers {
            let source = self.by_id.get(&source).copied().unwrap_or(run);
            let gone = !self.runs[source].alive;
            let pause = if gone { 0 } else { OPENING };
            let opened = Event::Opened(run, process, epoch);
            self.agenda.after(pause, opened);
        }
    }

    /// A process that moved waits no longer for what its source still has.
    pub(super) fn opened(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let cell = self.runs[run].host.cells.get_mut(process);
        if let Some(cell) = cell.filter(|cell| cell.epoch >= epoch) {
            let released = cell.mailbox.opened(&Limits::default());
            self.release(run, process, released);
        }
    }

    /// The connection to another node broke: nothing more comes from there.
    pub(super) fn sources_lost(&mut self, run: RunIndex, peer: RunIndex) {
        if self.runs[peer].alive {
            return;
        }
        let cells = self.runs[run].host.cells.iter();
        let opening = cells.filter(|(_, cell)| cell.mailbox.phase() == Phase::Opening);
        let opening: Vec<_> = opening.map(|(id, cell)| (id.clone(), cell.epoch)).collect();
        for (process, epoch) in opening {
            self.opened(run, &process, epoch);
        }
    }

    fn stop(&mut self, run: RunIndex, process: ProcessId, epoch: Epoch) {
        let left = self.runs[run].left.contains(&process);
        let host = &mut self.runs[run].host;
        let cell = host.cells.get(&process);
        if cell.is_some_and(|cell| cell.epoch <= epoch)
            && let Some(cell) = host.cells.remove(&process)
        {
            // It may be begun anew if the home that has it stopped dies before all have ended it.
            let child = self.checker.child(&process);
            if child.asked > 0 || child.wanted != Wanted::Running || left {
                let applied = cell.state.applied.iter().copied();
                if self.plan.replicas > 0 {
                    child.excused.extend(applied);
                } else {
                    // Nobody else may know of that end if this node dies over it: then the child
                    // begins anew, and its state has died with its host.
                    let ended = host.ended.entry(process.clone()).or_default();
                    ended.extend(applied);
                }
            }
            self.turn_away(run, &process, cell.mailbox.close());
        }
        self.runs[run].host.land(&process, None);
        let ended = HostReport::Ended {
            process,
            epoch,
            crash: None,
        };
        self.report(run, ended);
    }

    fn suspend(&mut self, run: RunIndex) {
        let host = &mut self.runs[run].host;
        for cell in host.cells.values_mut() {
            cell.mailbox.suspend();
        }
        for (_, still) in host.pending.values_mut().flatten() {
            *still = true;
        }
    }

    fn confirm(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let pending = self.runs[run].host.pending.get_mut(process);
        for (_, still) in pending.into_iter().flatten() {
            *still = false;
        }
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        cell.epoch = cell.epoch.max(epoch);
        let epoch = cell.epoch;
        let released = cell.mailbox.proceed();
        self.checker.counts.confirmed += 1;
        self.check_epoch(run, process, epoch);
        self.check_acting(process);
        self.release(run, process, released);
    }

    /// The state of a copy that ran apart is added: no call that either applied is lost.
    fn merge(&mut self, run: RunIndex, process: ProcessId, attempt: MoveId, epoch: Epoch) {
        let host = &mut self.runs[run].host;
        if host
            .cells
            .get(&process)
            .is_some_and(|cell| cell.busy.is_some())
        {
            // It finishes its message first.
            let again = HostOrder::Merge {
                process: process.clone(),
                attempt,
                epoch,
            };
            let pending = VecDeque::from([(again, false)]);
            host.pending.insert(process.clone(), pending);
            let again = Event::Ordered(run, process);
            return self.agenda.after(5 * MILLISECOND, again);
        }
        let landing = host.land(&process, Some(attempt));
        let arrived = landing.and_then(|landing| landing.arrived);
        let merged = match (host.cells.get_mut(&process), arrived) {
            (Some(cell), Some((state, sealed))) => {
                cell.state.applied.extend(state.applied);
                cell.epoch = epoch;
                self.checker.counts.merged += 1;
                Ok(cell.mailbox.merge(sealed, &Limits::default()))
            }
            _ => Err(HostFailure::NotHere),
        };
        let result = merged.map(|released| self.release(run, &process, released));
        let merged = HostReport::Merged {
            process,
            attempt,
            result,
        };
        self.report(run, merged);
    }
}
