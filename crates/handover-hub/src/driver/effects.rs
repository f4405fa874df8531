//! Orders of the machine to the processes of its node, and what it reports.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use handover_hub_proto::event::Event;
use handover_hub_proto::identity::Epoch;
use handover_hub_proto::node::{HostFailure, HostOrder};
use handover_hub_proto::spec::ChildSpec;

use super::{Driver, ToEngine};
use crate::cell::Cell;

impl Driver {
    pub(super) fn host(&mut self, order: HostOrder) {
        self.occasions.host_is_told(&order);
        let mut order = order;
        loop {
            // The process it was for ended or left meanwhile.
            match self.try_host(order) {
                Some(again) => order = again,
                None => return,
            }
        }
    }

    fn try_host(&self, order: HostOrder) -> Option<HostOrder> {
        match &order {
            HostOrder::Warm { spec, epoch, .. } | HostOrder::Activate { spec, epoch, .. } => {
                let cell = self.place(spec, *epoch);
                return cell.order(&self.shared, order);
            }
            HostOrder::Suspend => self.suspend(),
            HostOrder::Continue { process, epoch } => {
                if let Some(cell) = self.shared.cells.get(process) {
                    cell.proceed(&self.shared, *epoch);
                }
            }
            HostOrder::Replicate { process, to, .. } => {
                if let Some(cell) = self.shared.cells.present(process) {
                    let to = to.clone();
                    return cell.replicate_to(&self.shared, order, &to);
                }
            }
            HostOrder::Freeze { process, .. }
            | HostOrder::SendState { process, .. }
            | HostOrder::Resume { process, .. }
            | HostOrder::Retire { process, .. }
            | HostOrder::Discard { process, .. }
            | HostOrder::Stop { process, .. }
            | HostOrder::Role { process, .. }
            | HostOrder::Merge { process, .. } => match self.shared.cells.present(process) {
                Some(cell) => {
                    if let HostOrder::Stop { .. } = order {
                        let departs = self.node.has_gone();
                        self.shared.departs.store(departs, Ordering::Release);
                        cell.release_replicas();
                    }
                    return cell.order(&self.shared, order);
                }
                None => self.nothing_here(order),
            },
        }
        None
    }

    /// Where a process is or will be.
    fn place(&self, spec: &Arc<ChildSpec>, epoch: Epoch) -> Arc<Cell> {
        if let Some(cell) = self.shared.cells.present(&spec.id) {
            return cell;
        }
        let cell = Cell::new(Arc::clone(spec), epoch);
        self.shared.cells.put(Arc::clone(&cell));
        cell
    }

    /// Nothing of the process is here; who ordered is told.
    fn nothing_here(&self, order: HostOrder) {
        if let Some(report) = order.answered(Err(HostFailure::NotHere)) {
            self.shared.report(report);
        }
    }

    /// Everything on this node stands still (H12).
    fn suspend(&self) {
        self.shared.still.store(true, Ordering::Release);
        for cell in self.shared.cells.all() {
            cell.suspend();
        }
    }

    pub(super) fn report(&mut self, event: Event) {
        let mut view = self.shared.view_mut();
        match &event {
            Event::Moving { attempt, .. } => {
                view.moving.insert(*attempt);
            }
            Event::Moved { attempt, .. } | Event::MoveFailed { attempt, .. } => {
                view.moving.remove(attempt);
            }
            Event::Suspended { reason } => {
                let held = self
                    .shared
                    .validity
                    .get()
                    .is_some_and(|valid| valid.holds());
                view.partitioned = held;
                view.suspended = Some(reason.clone());
            }
            Event::Continued => {
                view.suspended = None;
                view.partitioned = false;
                // Each process still waits for the word of its home (H12).
                self.shared.still.store(false, Ordering::Release);
            }
            Event::Settled => view.moving.clear(),
            _ => {}
        }
        drop(view);
        if let Some(gate) = self.occasions.happened(&event, self.shared.me) {
            let _ = self.engine.send(ToEngine::After(gate));
        }
        // Nobody has to listen.
        let _ = self.shared.events.send(event);
    }
}
