//! What is ordered of a process that ends or leaves before it has ended or left.
//!
//! The machine is ahead: it takes for done what it has ordered. When it orders a process to come
//! back, the order to leave may still wait in the cell. A cell that is over begins nothing again: its
//! place is taken by a new one, which is given all that was ordered from the beginning on.

use std::sync::Arc;

use handover_hub_proto::identity::{Epoch, NodeId};
use handover_hub_proto::node::HostOrder;
use handover_hub_proto::spec::ChildSpec;

use super::{Cell, Phase, State, Work};
use crate::hub::Shared;

impl Cell {
    /// Has an order carried out after those before it. Returns it if nothing is here nor will be:
    /// then it is for whoever is in the place of this one.
    #[must_use]
    pub(crate) fn order(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        order: HostOrder,
    ) -> Option<HostOrder> {
        let mut state = self.lock();
        if state.is_over() {
            return Some(order);
        }
        state.work.push_back(Work::Order(order));
        self.wake(shared, state);
        None
    }

    /// Says where its passive replicas are: at once, or to the one that will take its place.
    #[must_use]
    pub(crate) fn replicate_to(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        order: HostOrder,
        to: &[NodeId],
    ) -> Option<HostOrder> {
        let mut state = self.lock();
        if state.is_over() {
            return Some(order);
        }
        if state.work.iter().any(|work| begun_by(work).is_some()) {
            state.work.push_back(Work::Order(order));
            return None;
        }
        // What is older and still waits would undo it.
        let listed = |work: &Work| matches!(work, Work::Order(HostOrder::Replicate { .. }));
        state.work.retain(|work| !listed(work));
        state.set_replicas(shared, to);
        self.wake(shared, state);
        None
    }

    /// Begins what was ordered before it was put into its place.
    pub(super) fn begin_work(self: &Arc<Self>, shared: &Arc<Shared>) {
        let state = self.lock();
        self.wake(shared, state);
    }
}

impl State {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Retired | Phase::Ended)
    }

    /// The one for the place of this one, which is over, if another was ordered to begin. It must be
    /// there before this one's lock is given back: who finds this one over looks there.
    pub(super) fn successor(&mut self) -> Option<Arc<Cell>> {
        let mut work = self.work.iter().enumerate();
        let (at, (spec, epoch)) = work.find_map(|(at, work)| Some((at, begun_by(work)?)))?;
        let next = Cell::new(Arc::clone(spec), epoch);
        next.lock().work = self.work.split_off(at);
        Some(next)
    }
}

/// What begins with this, if anything does.
fn begun_by(work: &Work) -> Option<(&Arc<ChildSpec>, Epoch)> {
    match work {
        Work::Order(
            HostOrder::Warm { spec, epoch, .. } | HostOrder::Activate { spec, epoch, .. },
        ) => Some((spec, *epoch)),
        Work::Order(_) | Work::Land { .. } | Work::Synchronise | Work::Checkpoint | Work::GoOn => {
            None
        }
    }
}

#[cfg(test)]
mod tests;
