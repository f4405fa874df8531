//! Where children may run, by the distribution of their hub.

use std::collections::BTreeSet;

use handover_hub_proto::identity::{NodeId, ProcessId};
use handover_hub_proto::placement::{Distribution, shard_of};
use handover_hub_proto::row::Rows as _;
use handover_hub_proto::spec::Placing;

use super::World;
use super::settle::{Broken, broken};
use crate::cluster::network::{RunIndex, Seat};

/// Where a child of a guided hub may be.
#[derive(Clone, Debug, Default)]
pub(super) struct Guided {
    /// By all that somebody may have said last.
    seats: BTreeSet<Seat>,
    /// All that were ever named: in a divided network with gossip either part says, and one wins.
    named: BTreeSet<Seat>,
    /// Pins without answer.
    open: u32,
    /// Of one pin nobody knows what became.
    doubt: bool,
}

impl World {
    pub(super) fn is_guided(&self) -> bool {
        self.plan.distribution == Distribution::Guided
    }

    /// Where a new child is put.
    pub(super) fn placing(&mut self, process: &ProcessId) -> Placing {
        if !self.is_guided() {
            return Placing::Strategy;
        }
        let runs = self.settled_runs();
        let Some(run) = self.apart.one(&runs).copied() else {
            return Placing::Strategy;
        };
        self.named_for(process, run);
        self.checker.counts.guided += 1;
        Placing::Pinned(vec![self.runs[run].me.name.clone()])
    }

    /// Another place is named for a child of a guided hub.
    pub(super) fn guide(&mut self, process: &ProcessId, to: RunIndex) -> Placing {
        self.named_for(process, to).open += 1;
        Placing::Pinned(vec![self.runs[to].me.name.clone()])
    }

    fn named_for(&mut self, process: &ProcessId, run: RunIndex) -> &mut Guided {
        let guided = self.guided.entry(process.clone()).or_default();
        guided.seats.insert(self.runs[run].seat);
        guided.named.insert(self.runs[run].seat);
        guided
    }

    /// What became of that.
    pub(super) fn guided(&mut self, process: &ProcessId, placing: &Placing, done: bool) {
        let Placing::Pinned(names) = placing else {
            return;
        };
        let named = |run: &&super::Run| names.contains(&run.me.name);
        let seat = self.runs.iter().find(named).map(|run| run.seat);
        let Some(guided) = self.guided.get_mut(process) else {
            return;
        };
        guided.open = guided.open.saturating_sub(1);
        guided.doubt |= !done;
        if let Some(seat) = seat.filter(|_| done && guided.open == 0 && !guided.doubt) {
            guided.seats = BTreeSet::from([seat]);
        }
    }

    /// Where a child of a guided hub may be.
    fn seats(&self, process: &ProcessId) -> Option<&BTreeSet<Seat>> {
        let guided = self.guided.get(process)?;
        let apart = self.diverged && !self.plan.exclusive;
        Some(if apart { &guided.named } else { &guided.seats })
    }

    /// Some nodes that children were put on come back: so do the children. Whoever called one of them
    /// before may have waited for too long.
    pub(super) fn bring_back(&mut self) {
        if !self.is_guided() {
            return;
        }
        let calls = self.calls.values_mut();
        calls.for_each(|under_way| under_way.may_fail = true);
        let guided = self.guided.values().flat_map(|guided| &guided.seats);
        let seats: BTreeSet<Seat> = guided.copied().collect();
        for seat in seats {
            if self.apart.chance(500) {
                self.start_node(seat);
            }
        }
    }

    /// It is pinned to nodes that are gone, and runs nowhere else.
    pub(super) fn waits_for_its_node(&self, process: &ProcessId, alive: &[RunIndex]) -> bool {
        let names: Vec<_> = alive.iter().map(|run| &self.runs[*run].me.name).collect();
        let waits = |run: &RunIndex| {
            let row = self.runs[*run].machine.rows().get(process);
            row.is_some_and(|row| match &row.spec().placing {
                Placing::Pinned(nodes) => !nodes.iter().any(|node| names.contains(&node)),
                Placing::Strategy => false,
            })
        };
        let there = |seat: &Seat| alive.iter().any(|run| self.runs[*run].seat == *seat);
        let due = self
            .seats(process)
            .is_some_and(|seats| seats.iter().all(there));
        (!due && alive.iter().all(waits)) || self.is_forgotten(process, alive)
    }

    /// Nobody runs it, and nobody knows it any more: its node left while others were out of reach. Or
    /// with gossip: of parts that met again one says what children there are, and nobody ran it then.
    fn is_forgotten(&self, process: &ProcessId, alive: &[RunIndex]) -> bool {
        let runs = |run: &RunIndex| self.runs[*run].host.cells.contains_key(process);
        let apart = self.diverged && !self.plan.exclusive;
        let unknown = apart || self.forgettable.contains(process);
        unknown && self.hostless.contains(process) && !alive.iter().any(runs)
    }

    /// A run is over: whose only host it was.
    pub(super) fn note_hostless(&mut self, run: RunIndex) {
        let others: Vec<RunIndex> = self.living().into_iter().filter(|at| *at != run).collect();
        for process in self.runs[run].host.cells.keys() {
            let runs = |at: &RunIndex| self.runs[*at].host.cells.contains_key(process);
            if !others.iter().any(runs) {
                self.hostless.insert(process.clone());
            }
        }
        let left = std::mem::take(&mut self.runs[run].left);
        self.hostless.extend(left);
    }

    /// Whether a child runs where its distribution says that it may.
    pub(super) fn in_place(
        &self,
        process: &ProcessId,
        run: RunIndex,
        placed: &[NodeId],
    ) -> Result<(), Broken> {
        if !self.plan.moves {
            return Ok(());
        }
        let may: String = match self.plan.distribution {
            Distribution::Consistent => {
                let id = self.runs[run].id;
                let shard = shard_of(process, self.plan.shards);
                let home = placed.get(usize::from(shard.0)).copied();
                let pins = self.pinned.contains_key(process);
                let moved = self.moved_to.get(process);
                let may = moved.is_some_and(|places| places.contains(&id));
                if home == Some(id) || pins || may {
                    return Ok(());
                }
                format!("on {home:?}")
            }
            // Wherever it began or was shifted to, as long as that node takes processes.
            Distribution::LoadBalanced(_) if !self.runs[run].evacuated => return Ok(()),
            Distribution::LoadBalanced(_) => "on a node that is not emptied".into(),
            Distribution::Guided => {
                let (seat, seats) = (self.runs[run].seat, self.seats(process));
                if seats.is_some_and(|seats| seats.contains(&seat)) {
                    return Ok(());
                }
                // Where the one that was named last is gone, it stays where it was.
                let there = |seat: &Seat| {
                    let mut living = self.living().into_iter();
                    living.any(|run| self.runs[run].seat == *seat)
                };
                let guided = self.guided.get(process);
                if guided.is_some_and(|guided| {
                    guided.named.contains(&seat) && !guided.seats.iter().any(there)
                }) {
                    return Ok(());
                }
                format!("on a node of {seats:?}")
            }
        };
        let words = format!("{process} runs on run {run}, and should {may}");
        Err(broken("H8", words, &[process]))
    }
}
