//! Left alone, a cluster settles (H8): every shard has the home that placement says, every child
//! runs where it should and nowhere else, every copy of the registry says so, nobody waits.

use std::collections::{BTreeMap, BTreeSet};

use handover_hub_proto::identity::{NodeId, ProcessId, ShardId};
use handover_hub_proto::mailbox::Phase;
use handover_hub_proto::placement::homes;
use handover_hub_proto::row::Row;
use handover_hub_proto::view::Owner;

use super::World;
use crate::cluster::agenda::SECOND;
use crate::cluster::checker::{Violation, Wanted};
use crate::cluster::engine::Engine;
use crate::cluster::network::RunIndex;

/// A cluster without faults is settled after this time.
const SETTLES: u64 = 150 * SECOND;

/// With processes that are shifted, and left alone for a while afterwards.
const BALANCES: u64 = 300 * SECOND;

/// Processes that defer are moved after this time.
const DEFERS: u64 = 700 * SECOND;

pub(super) type Broken = (&'static str, String, Vec<String>);

pub(super) fn broken(
    rule: &'static str,
    words: String,
    about: &[&dyn std::fmt::Display],
) -> Broken {
    (rule, words, about.iter().map(ToString::to_string).collect())
}

impl World {
    /// No more faults: waits until the cluster has settled, and looks at it once more later.
    ///
    /// # Errors
    /// It does not settle, or what it settled for is wrong.
    pub(super) fn settle(&mut self) -> Result<(), Violation> {
        self.quiet = true;
        self.note(|| "=== no more faults".into());
        self.relieve();
        for run in self.living() {
            self.go_on(run);
        }
        self.catch_up();
        self.refill();
        self.until(self.now() + 20 * SECOND)?;
        // Again: what was asked while the network was divided may not have been heard.
        self.unpin();
        self.bring_back();
        let begun = self.now();
        loop {
            self.until(self.now() + 5 * SECOND)?;
            let Err(found) = self.settled().and_then(|()| self.loads_settled()) else {
                break;
            };
            let deferred = found
                .2
                .first()
                .and_then(|name| ProcessId::new(name).ok())
                .is_some_and(|process| self.stubborn.contains(&process));
            // H10: what others defer holds up nobody.
            let limit = match deferred {
                true => DEFERS,
                false if self.balances() => BALANCES,
                false => SETTLES,
            };
            if self.now() > begun + limit {
                let (rule, words, about) = found;
                return Err(Violation { rule, words, about });
            }
        }
        self.probe()?;
        self.until(self.now() + 40 * SECOND)?;
        self.settled()
            .map_err(|(rule, words, about)| Violation { rule, words, about })
    }

    /// Every child answers.
    fn probe(&mut self) -> Result<(), Violation> {
        let children = self.checker.children.iter();
        let running = children.filter(|(_, child)| child.wanted == Wanted::Running);
        let running: Vec<_> = running.map(|(process, _)| process.clone()).collect();
        let runs = self.living();
        let running = running
            .into_iter()
            .filter(|process| !self.waits_for_its_node(process, &runs));
        let running: Vec<_> = running.collect();
        let mut open = Vec::new();
        for process in running {
            if let Some(run) = self.random.one(&runs).copied() {
                open.push((self.call(run, process.clone()), process));
            }
        }
        self.until(self.now() + 10 * SECOND)?;
        match open.iter().find(|(call, _)| self.calls.contains_key(call)) {
            None => Ok(()),
            Some((call, process)) => {
                let hosts = self.hosts_of(process);
                let words = format!("{process} does not answer call {}: {hosts}", call.number);
                Err(Violation::new("H8", words, &[process]))
            }
        }
    }

    fn settled(&self) -> Result<(), Broken> {
        let alive = self.living();
        let members: Vec<_> = alive
            .iter()
            .map(|run| self.runs[*run].machine.status().me)
            .collect();
        let placed = homes(&members, self.plan.shards);
        for shard in 0..self.plan.shards {
            let wanted = placed.get(usize::from(shard)).copied();
            self.shard_settled(ShardId(shard), wanted, &alive)?;
        }
        if let Some((call, under_way)) = self.calls.first_key_value() {
            let process = &under_way.process;
            let words = format!("call {} of {process} waits", call.number);
            return Err(broken("H8", words, &[process]));
        }
        if let Some((run, request)) = self.checker.open() {
            let command = self.runs[*run].requests.get(request);
            let words = format!("run {run} does not answer {}: {command:?}", request.0);
            return Err(broken("H8", words, &[&format!("run {run} ")]));
        }
        self.children_settled(&alive, &placed)?;
        self.registries_settled(&alive)
    }

    fn shard_settled(
        &self,
        shard: ShardId,
        wanted: Option<NodeId>,
        alive: &[RunIndex],
    ) -> Result<(), Broken> {
        for run in alive {
            let owner: Option<&Owner> = match &self.engine {
                Engine::Exclusive(store) => store.owners().get(&shard),
                Engine::Gossip(gossip) => gossip.owners(*run).and_then(|all| all.get(&shard)),
            };
            if owner.map(|owner| owner.node) != wanted {
                let words = format!(
                    "the home of shard {} is {owner:?} for run {run}, and should be {wanted:?}",
                    shard.0
                );
                return Err(broken("H8", words, &[&format!("ShardId({})", shard.0)]));
            }
        }
        Ok(())
    }

    fn children_settled(&self, alive: &[RunIndex], placed: &[NodeId]) -> Result<(), Broken> {
        for run in alive {
            let host = &self.runs[*run].host;
            if let Some(process) = host.landings.keys().next() {
                let words = format!("run {run} waits for {process}, which does not come");
                return Err(broken("H8", words, &[process]));
            }
            for (process, cell) in &host.cells {
                let open = cell.mailbox.phase() == Phase::Open && !cell.mailbox.is_suspended();
                if !open || cell.mailbox.waiting() > 0 {
                    let words = format!("{process} stands still on run {run}: {cell:?}");
                    return Err(broken("H8", words, &[process]));
                }
            }
        }
        for (process, child) in &self.checker.children {
            let runs = |run: &&RunIndex| self.runs[**run].host.cells.contains_key(process);
            let hosts: Vec<_> = alive.iter().filter(runs).copied().collect();
            let hosts = self.without_replicas(process, hosts, alive.len())?;
            let right = match child.wanted {
                Wanted::Running => {
                    hosts.len() == 1
                        || (hosts.is_empty() && self.waits_for_its_node(process, alive))
                }
                Wanted::Stopped => hosts.is_empty() || (!self.plan.exclusive && self.diverged),
                Wanted::Either => hosts.len() <= 1,
            };
            if !right {
                let rule = if child.wanted == Wanted::Running && hosts.is_empty() {
                    "H9"
                } else {
                    "H8"
                };
                let words = format!("{process} is {:?} and runs on {hosts:?}", child.wanted);
                return Err(broken(rule, words, &[process]));
            }
            let Some(run) = hosts.first() else {
                continue;
            };
            self.in_place(process, *run, placed)?;
            let applied = &self.runs[*run].host.cells[process].state.applied;
            self.checker
                .survives(process, applied)
                .map_err(|v| (v.rule, v.words, v.about))?;
        }
        Ok(())
    }

    /// Every copy of the registry says who runs what.
    fn registries_settled(&self, alive: &[RunIndex]) -> Result<(), Broken> {
        let mut truth: BTreeMap<
            &ProcessId,
            BTreeSet<(NodeId, handover_hub_proto::identity::Epoch)>,
        > = BTreeMap::new();
        for run in alive {
            for (process, cell) in &self.runs[*run].host.cells {
                let hosts = truth.entry(process).or_default();
                hosts.insert((self.runs[*run].id, cell.epoch));
            }
        }
        for run in alive {
            let mut seen = 0;
            for row in self.runs[*run].machine.rows().all() {
                let hosts: BTreeSet<_> = row.hosts().iter().map(|h| (h.node, h.epoch)).collect();
                let process = row.id();
                if hosts.is_empty() && self.waits_for_its_node(process, alive) {
                    continue;
                }
                if truth.get(process) != Some(&hosts) {
                    let words = format!(
                        "run {run} says that {process} runs on {hosts:?}, not on {:?}",
                        truth.get(process)
                    );
                    return Err(broken("H8", words, &[process, &format!("run {run} ")]));
                }
                seen += 1;
            }
            if seen != truth.len() {
                let known = |process: &&&ProcessId| {
                    let mut rows = self.runs[*run].machine.rows().all();
                    !rows.any(|row: &Row| row.id() == **process)
                };
                let missing = truth.keys().find(known);
                let words = format!("run {run} has no row of {missing:?}");
                let about = missing.map_or_else(String::new, ToString::to_string);
                return Err(broken("H8", words, &[&about]));
            }
        }
        Ok(())
    }
}
