//! Processes with passive replicas, which have the state before an answer leaves.

use handover_hub_proto::identity::{CallId, Epoch, NodeId, ProcessId};
use handover_hub_proto::mailbox::{Limits, Mailbox, Sealed};
use handover_hub_proto::node::{HostFailure, HostOrder, HostReport};
use handover_hub_proto::redundancy::{Factor, Model, Redundancy, Signal};
use handover_hub_proto::row::{Host, Role, Rows as _};

use super::settle::{Broken, broken};
use super::{Event, Message, World};
use crate::cluster::agenda::MILLISECOND;
use crate::cluster::host::{Cell, Frame, Kept, Replicas};
use crate::cluster::network::{Class, RunIndex};

/// After this time a replica is sent again what it has not confirmed.
const AGAIN: u64 = 500 * MILLISECOND;

/// How many updates of a thousand take long, and how many of those that bring a new replica all.
const LONG: (u64, u64) = (20, 400);

impl World {
    pub(super) fn redundancy(&self) -> Redundancy {
        match self.plan.replicas {
            0 => Redundancy::Single,
            replicas => Redundancy::Replicated {
                factor: Factor::Nodes(replicas + 1),
                model: Model::ActivePassive,
                signal: Signal::None,
                state: true,
            },
        }
    }

    /// Its home says which replicas a process has.
    pub(super) fn replicate(&mut self, run: RunIndex, process: &ProcessId, to: &[NodeId]) {
        let cell = self.runs[run].host.cells.get_mut(process);
        let Some(cell) = cell.filter(|cell| cell.role == Role::Active) else {
            return;
        };
        let replicas = &mut cell.replicas;
        let has = |node| replicas.nodes.get(node).copied().unwrap_or(0);
        let nodes = to.iter().map(|node| (*node, has(node))).collect();
        replicas.nodes = nodes;
        replicas.told = true;
        self.update(run, process, None);
        self.serve(run, process);
    }

    /// Sends the replicas of a process what it is now.
    pub(super) fn update(&mut self, run: RunIndex, process: &ProcessId, answer: Option<CallId>) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        let replicas = &mut cell.replicas;
        replicas.number += 1;
        let number = replicas.number;
        replicas.answers.extend(answer.map(|call| (number, call)));
        self.update_again(run, process, number);
    }

    /// Sends it to those that lack it, as long as nothing newer is sent.
    pub(super) fn update_again(&mut self, run: RunIndex, process: &ProcessId, number: u64) {
        self.settle_updates(run, process);
        let Some(cell) = self.runs[run].host.cells.get(process) else {
            return;
        };
        if cell.replicas.number != number || cell.role == Role::Passive {
            return;
        }
        let kept = Kept {
            epoch: cell.epoch,
            number,
            state: cell.state.clone(),
            replies: cell.mailbox.remembered(),
        };
        let behind = cell.replicas.nodes.iter().filter(|(_, has)| **has < number);
        let behind: Vec<(NodeId, u64)> = behind.map(|(node, has)| (*node, *has)).collect();
        if behind.is_empty() {
            return;
        }
        for (node, has) in behind {
            if let Some(to) = self.by_id.get(&node).copied() {
                let long = if has == 0 { LONG.1 } else { LONG.0 };
                let most = if self.random.chance(long) { 1_000 } else { 2 };
                let size = self.random.between(0, most) * MILLISECOND;
                let (process, kept) = (process.clone(), kept.clone());
                let frame: Frame<Message> = Frame::Replica { process, kept };
                self.send(run, to, Class::States, size, frame);
            }
        }
        let again = Event::Update(run, process.clone(), number);
        self.agenda.after(AGAIN, again);
    }

    /// A passive replica is sent something.
    pub(super) fn replica_arrives(
        &mut self,
        (from, to): (RunIndex, RunIndex),
        process: ProcessId,
        kept: Kept,
    ) {
        let host = &mut self.runs[to].host;
        let cell = host.cells.get(&process);
        let Some(cell) = cell.filter(|cell| cell.role == Role::Passive) else {
            return;
        };
        let (epoch, number) = (cell.epoch, kept.number);
        let before = host.replicas.get(&process);
        let before = before.map(|before| (before.epoch, before.number));
        if before.is_some_and(|(epoch, _)| epoch > kept.epoch) {
            return;
        }
        if before.is_none_or(|before| before < (kept.epoch, number)) {
            host.replicas.insert(process.clone(), kept);
        }
        if before.is_none() {
            let process = process.clone();
            self.report(to, HostReport::Filled { process, epoch });
        }
        let kept = Frame::ReplicaKept { process, number };
        self.send(to, from, Class::Calls, 0, kept);
    }

    /// A passive replica has it.
    pub(super) fn replica_kept(
        &mut self,
        (from, to): (RunIndex, RunIndex),
        process: &ProcessId,
        number: u64,
    ) {
        let node = self.runs[from].id;
        let Some(cell) = self.runs[to].host.cells.get_mut(process) else {
            return;
        };
        let last = cell.replicas.number;
        if let Some(has) = cell.replicas.nodes.get_mut(&node)
            && number <= last
        {
            *has = number.max(*has);
            self.settle_updates(to, process);
        }
    }

    /// What all replicas have is answered. Nobody waits for one whose node is gone.
    fn settle_updates(&mut self, run: RunIndex, process: &ProcessId) {
        let lives = |node: &NodeId| self.by_id.get(node).is_some_and(|at| self.runs[*at].alive);
        let Some(cell) = self.runs[run].host.cells.get(process) else {
            return;
        };
        let living = cell.replicas.nodes.iter().filter(|(node, _)| lives(node));
        let all = living.map(|(_, has)| *has).min();
        let all = all.unwrap_or(cell.replicas.number);
        let incarnation = cell.state.incarnation;
        let ends = cell.replicas.steps_down;
        let ends = ends.filter(|_| all >= cell.replicas.number);
        let in_time = self.now() < self.valid(run) && !cell.mailbox.is_suspended();
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        let answers = &mut cell.replicas.answers;
        let ready: Vec<CallId> = answers
            .extract_if(.., |(number, _)| *number <= all)
            .map(|(_, call)| call)
            .collect();
        for call in ready {
            if in_time {
                self.answer_call(run, process, call, incarnation);
            } else {
                let again = Event::InDoubt(run, process.clone(), Some(call));
                self.agenda.after(100 * MILLISECOND, again);
            }
        }
        if let Some(epoch) = ends {
            self.stepped_down(run, process, epoch);
        }
    }

    pub(super) fn change_role(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        epoch: Epoch,
        role: Role,
    ) {
        let host = &mut self.runs[run].host;
        let Some(cell) = host.cells.get_mut(&process) else {
            let result = Err(HostFailure::NotHere);
            return self.role_changed(run, process, epoch, result);
        };
        match (cell.role, role) {
            (Role::Active, Role::Passive) if cell.busy.is_some() => {
                // It finishes the message it is at.
                let order = HostOrder::Role {
                    process: process.clone(),
                    epoch,
                    role,
                };
                let pending = host.pending.entry(process.clone()).or_default();
                pending.push_back((order, false));
                self.agenda.after(MILLISECOND, Event::Ordered(run, process));
            }
            (Role::Active, Role::Passive) => {
                cell.epoch = epoch;
                cell.replicas.steps_down = Some(epoch);
                self.update(run, &process, None);
            }
            (Role::Passive, Role::Passive) => {
                cell.epoch = epoch;
                host.replicas.remove(&process);
                self.role_changed(run, process, epoch, Ok(()));
            }
            (_, Role::Active) => {
                cell.role = role;
                cell.epoch = epoch;
                self.check_acting(&process);
                self.serve(run, &process);
            }
        }
    }

    /// All replicas have what this one had: it is one of them.
    fn stepped_down(&mut self, run: RunIndex, process: &ProcessId, epoch: Epoch) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        let letters = become_passive(cell);
        self.turn_away(run, process, letters);
        self.role_changed(run, process.clone(), epoch, Ok(()));
    }

    fn role_changed(
        &mut self,
        run: RunIndex,
        process: ProcessId,
        epoch: Epoch,
        result: Result<(), HostFailure>,
    ) {
        let activated = HostReport::Activated {
            process,
            epoch,
            result,
        };
        self.report(run, activated);
    }

    /// Whether somebody knows of a replica on another node that is to take over: then nothing that
    /// was acknowledged may be lost with this one.
    pub(super) fn is_promised(&self, run: RunIndex, process: &ProcessId) -> bool {
        let stands_by = |host: &Host| {
            let at = self.by_id.get(&host.node).copied();
            let at = at.filter(|at| *at != run && self.runs[*at].alive);
            let cell = at.and_then(|at| self.runs[at].host.cells.get(process));
            let is_it = |cell: &Cell| cell.epoch == host.epoch && cell.role == Role::Passive;
            host.filled && cell.is_some_and(is_it)
        };
        self.living().into_iter().any(|known| {
            let row = self.runs[known].machine.rows().get(process);
            row.is_some_and(|row| row.hosts().iter().any(stands_by))
        })
    }

    /// Of those that run a process the one that answers, if the others are as they should be.
    pub(super) fn without_replicas(
        &self,
        process: &ProcessId,
        hosts: Vec<RunIndex>,
        nodes: usize,
    ) -> Result<Vec<RunIndex>, Broken> {
        if self.plan.replicas == 0 {
            return Ok(hosts);
        }
        let cell = |run: &RunIndex| &self.runs[*run].host.cells[process];
        let active = hosts.iter().filter(|run| cell(run).role == Role::Active);
        let active: Vec<RunIndex> = active.copied().collect();
        let wanted = nodes.min(usize::from(self.plan.replicas) + 1);
        if !active.is_empty() && hosts.len() != wanted {
            let words = format!("{process} has {} replicas, not {wanted}", hosts.len());
            return Err(broken("H8", words, &[process]));
        }
        for run in &hosts {
            let runner = &self.runs[*run];
            let row = runner.machine.rows().get(process);
            if row.is_some_and(|row| row.hosts().iter().any(|host| !host.filled)) {
                let words = format!("{process} has a replica that is not filled");
                return Err(broken("H8", words, &[process]));
            }
            if let Some(state) = runner.host.state(process) {
                let survives = self.checker.survives(process, &state.applied);
                survives.map_err(|v| (v.rule, v.words, v.about))?;
            }
        }
        Ok(active)
    }
}

/// What waited for it.
fn become_passive(cell: &mut Cell) -> Vec<crate::cluster::host::Called> {
    cell.role = Role::Passive;
    cell.replicas = Replicas::default();
    let mut mailbox = Mailbox::restoring();
    mailbox.restore(Sealed {
        queue: Vec::new(),
        replies: cell.mailbox.remembered(),
    });
    let _ = mailbox.activate(false, &Limits::default());
    std::mem::replace(&mut cell.mailbox, mailbox).close()
}
