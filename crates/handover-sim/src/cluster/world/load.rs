//! How busy nodes are, and whether what the balancer promises of that holds.

use std::time::Duration;

use handover_hub_proto::balance::Balancing;
use handover_hub_proto::node::Input;
use handover_hub_proto::placement::Distribution;
use handover_hub_proto::row::Role;
use handover_hub_proto::view::Load;

use super::settle::{Broken, broken};
use super::{Event, World};
use crate::cluster::agenda::{SECOND, Time};
use crate::cluster::network::{RunIndex, Seat};
use crate::cluster::random::Random;

/// Between two measurements.
const EVERY: Time = 2 * SECOND;

/// After so many boards that moved nothing the loads have settled.
const BOARDS: u32 = 8;

/// How far apart beyond the tolerance the loads of two nodes may be in the end: boards round, and a
/// load is told when it has changed by more than a little.
const SLACK: u64 = 60;

fn time(duration: Duration) -> Time {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    const fn balancing(&self) -> Option<Balancing> {
        match self.plan.distribution {
            Distribution::LoadBalanced(balancing) => Some(balancing),
            Distribution::Consistent | Distribution::Guided => None,
        }
    }

    /// Whether load is balanced.
    pub(super) const fn balances(&self) -> bool {
        self.balancing().is_some()
    }

    pub(super) fn measure_later(&mut self, run: RunIndex) {
        if self.balances() {
            self.agenda.after(EVERY, Event::Measured(run));
        }
    }

    pub(super) fn measured(&mut self, run: RunIndex) {
        let load = self.load(run, self.quiet);
        self.input(run, Input::Load(load));
        self.measure_later(run);
    }

    /// What else a node has to do than its processes; in the end, always the same.
    fn aside(&mut self, seat: Seat, still: bool) -> u16 {
        let mut of_seat = Random::new(self.plan.seed ^ ((seat as u64 + 1) << 32));
        let usual = of_seat.between(0, 300);
        let more = if still || !self.apart.chance(200) {
            0
        } else {
            self.apart.between(0, 500)
        };
        u16::try_from(usual + more).unwrap_or(0)
    }

    fn load(&mut self, run: RunIndex, still: bool) -> Load {
        let aside = self.aside(self.runs[run].seat, still);
        let cells = self.runs[run].host.cells.values();
        let count = cells.clone().count();
        let active = cells.clone().filter(|cell| cell.role == Role::Active);
        // A few of them make most of the work.
        let costs = active.map(|cell| {
            let heavy = cell.spec.id.as_str().ends_with("7.");
            if heavy { 40 } else { 4 }
        });
        let work: u16 = costs.sum();
        let waiting: usize = cells.map(|cell| cell.mailbox.waiting()).sum();
        Load {
            processor: (aside + work).min(1_000),
            memory: 100,
            queued: u32::try_from(waiting).unwrap_or(u32::MAX),
            processes: u32::try_from(count).unwrap_or(u32::MAX),
        }
    }

    /// The loads have settled: boards move nothing any more, and no node is much busier than another
    /// of whose processes some could move.
    pub(super) fn loads_settled(&mut self) -> Result<(), Broken> {
        let Some(balancing) = self.balancing() else {
            return Ok(());
        };
        // Where a replica is already, its process is not shifted to, however busy others are.
        let Some(shifting) = balancing.shifting.filter(|_| self.plan.replicas == 0) else {
            return Ok(());
        };
        let quiet = time(balancing.every * BOARDS);
        if self.shifted + quiet > self.now() {
            return Err(broken("H8", "boards still shift processes".into(), &[]));
        }
        let runs = self.living();
        let loads: Vec<Load> = runs.iter().map(|run| self.load(*run, true)).collect();
        let most = loads.iter().map(|load| load.processes).max().unwrap_or(0);
        let score = |load: &Load| {
            let processes = u64::from(load.processes) * 1_000 / u64::from(most.max(1));
            (4 * u64::from(load.processor) + 2 * processes + u64::from(load.memory)) / 10
        };
        let busiest = loads.iter().max_by_key(|load| score(load));
        let idlest = loads.iter().map(score).min().unwrap_or(0);
        let Some(busiest) = busiest else {
            return Ok(());
        };
        let high = score(busiest);
        let apart = (high - idlest).saturating_sub(SLACK);
        let movable = u64::from(busiest.processes) * apart / (4 * high.max(1));
        if apart > u64::from(shifting.tolerance) && movable > 0 {
            let words = format!("one node is at {high}, another at {idlest}: {loads:?}");
            return Err(broken("H8", words, &[]));
        }
        Ok(())
    }
}
