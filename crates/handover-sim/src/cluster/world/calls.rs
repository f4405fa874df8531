//! Clients that call processes, and processes that answer.

use handover_hub_proto::identity::{CallId, NodeId, ProcessId};
use handover_hub_proto::row::{Role, Rows};

use super::{Call, Event, Message, World};
use crate::cluster::agenda::{MILLISECOND, SECOND};
use crate::cluster::checker::{Violation, Wanted};
use crate::cluster::fault::Fault;
use crate::cluster::host::{Cell, Frame, Phase};
use crate::cluster::network::{Class, RunIndex};

/// How long a caller waits for an answer.
const PATIENCE: u64 = 45 * SECOND;

/// A caller that heard nothing asks again after this time.
const AGAIN: u64 = SECOND;

impl World {
    /// A client on any node calls any child.
    pub(super) fn call_one(&mut self) {
        if self.quiet {
            return;
        }
        let pause = self.random.between(0, self.plan.call_every * 2);
        self.agenda.after(pause, Event::Call);
        let children = self.checker.children.iter();
        let running = children.filter(|(_, child)| child.wanted == Wanted::Running);
        let running: Vec<_> = running.map(|(process, _)| process.clone()).collect();
        let runs = self.living();
        let chosen = self.random.one(&runs).copied();
        // A few are called often, so that calls of one process overlap.
        let among = if self.random.chance(300) {
            running.len().min(3)
        } else {
            running.len()
        };
        let process = self.random.one(&running[..among]).cloned();
        if let (Some(run), Some(process)) = (chosen, process) {
            self.call(run, process);
        }
    }

    /// A client on `run` calls a child.
    pub(super) fn call(&mut self, run: RunIndex, process: ProcessId) -> CallId {
        let runner = &mut self.runs[run];
        runner.call += 1;
        let (caller, number) = (runner.id, runner.call);
        let call = CallId { caller, number };
        let until = self.now() + PATIENCE;
        let under_way = Call {
            run,
            process,
            sent_to: None,
            until,
            tries: 0,
        };
        self.calls.insert(call, under_way);
        self.try_call(call, None);
        self.agenda.after(AGAIN, Event::Again(call));
        call
    }

    /// Sends a call to where the registry of its node says, or to where it was told to.
    fn try_call(&mut self, call: CallId, told: Option<NodeId>) {
        let Some(under_way) = self.calls.get_mut(&call) else {
            return;
        };
        let (run, process) = (under_way.run, under_way.process.clone());
        under_way.tries += 1;
        under_way.sent_to = None;
        if self.runs[run].paused {
            return;
        }
        let row = self.runs[run].machine.rows().get(&process);
        let host = row.and_then(|row| row.active()).map(|host| host.node);
        let Some(to) = told.or(host).and_then(|node| self.by_id.get(&node)) else {
            return;
        };
        let to = *to;
        self.note(|| {
            format!(
                "run {run} sends call {} of {process} to run {to}",
                call.number
            )
        });
        if let Some(under_way) = self.calls.get_mut(&call) {
            under_way.sent_to = Some(to);
        }
        let frame = Frame::Call { process, call };
        self.send(run, to, Class::Calls, 0, frame);
    }

    /// A caller that has no answer yet tries again, until it gives up.
    pub(super) fn again(&mut self, call: CallId) {
        let Some(under_way) = self.calls.get(&call) else {
            return;
        };
        if under_way.until <= self.now() {
            let number = call.number;
            let (run, process) = (under_way.run, under_way.process.clone());
            self.note(|| format!("run {run} gives up call {number} of {process}"));
            self.calls.remove(&call);
            self.checker.counts.given_up += 1;
            if self.quiet && self.checker.child(&process).wanted == Wanted::Running {
                let hosts = self.living().into_iter().filter_map(|run| {
                    let cell = self.runs[run].host.cells.get(&process)?;
                    let waits = cell.queue.len();
                    let (phase, valid) = (cell.phase, self.engine.valid(run));
                    Some((run, phase, cell.suspended, cell.busy, waits, valid))
                });
                let hosts: Vec<_> = hosts.collect();
                let words =
                    format!("{process} did not answer call {number} of run {run}, hosts {hosts:?}");
                self.judge(Err(Violation::new("H8", words, &[&process])));
            }
            return;
        }
        self.agenda.after(AGAIN, Event::Again(call));
        self.try_call(call, None);
    }

    pub(super) fn resend(&mut self, run: RunIndex, peer: RunIndex) {
        let calls = self.calls.iter();
        let lost = calls.filter(|(_, call)| call.run == run && call.sent_to == Some(peer));
        let lost: Vec<_> = lost.map(|(id, _)| *id).collect();
        for call in lost {
            self.try_call(call, None);
        }
    }

    pub(super) fn not_here(&mut self, _run: RunIndex, call: CallId, to: Option<NodeId>) {
        let tries = self.calls.get(&call).map_or(0, |call| call.tries);
        if to.is_some() && tries % 8 != 7 {
            self.try_call(call, to);
        }
    }

    pub(super) fn replied(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        call: CallId,
        incarnation: u64,
    ) {
        if self.calls.remove(&call).is_some() {
            let number = call.number;
            self.note(|| format!("run {run} has its answer {number} of {process} ({incarnation})"));
            self.checker.acknowledged(process, call);
        }
    }

    /// A call arrives at a host.
    pub(super) fn called(
        &mut self,
        run: RunIndex,
        from: RunIndex,
        process: &ProcessId,
        call: CallId,
    ) {
        let host = &self.runs[run].host;
        let landed = host
            .landings
            .get(process)
            .is_some_and(|landings| landings.iter().any(|landing| landing.arrived.is_some()));
        if !host.cells.contains_key(process) && !landed {
            let to = host.went.get(process).map(|(node, _)| *node);
            let frame = Frame::NotHere { call, to };
            self.send(run, from, Class::Calls, 0, frame);
            return;
        }
        self.queue(run, from, process, call);
    }

    /// A call waits its turn, is answered if it was applied before, or sent after who went away.
    pub(super) fn queue(
        &mut self,
        run: RunIndex,
        from: RunIndex,
        process: &ProcessId,
        call: CallId,
    ) {
        let forgetful = self.fault == Fault::Forgetful;
        let host = &mut self.runs[run].host;
        if let Some(cell) = host.cells.get_mut(process) {
            if cell.state.applied.contains(&call) && !forgetful {
                self.reply(run, process, call);
            } else {
                if !cell.waits(call) {
                    cell.queue.push_back(call);
                }
                self.serve(run, process);
            }
            return;
        }
        let landings = host.landings.get_mut(process).into_iter().flatten();
        for landing in landings {
            if let Some((state, queue)) = &mut landing.arrived
                && !state.applied.contains(&call)
                && !queue.contains(&call)
            {
                queue.push_back(call);
                return;
            }
        }
        let to = self.runs[run].host.went.get(process).copied();
        if let Some(to) = to.and_then(|(node, _)| self.by_id.get(&node).copied())
            && from != to
        {
            let (process, calls) = (process.clone(), vec![call]);
            let frame = Frame::Forward { process, calls };
            self.send(run, to, Class::Calls, 0, frame);
        }
    }

    /// Whether a process on a node acts: takes messages, and lets replies leave.
    #[must_use]
    pub(super) fn acts(&self, run: RunIndex, cell: &Cell) -> bool {
        let runner = &self.runs[run];
        let in_time = self.now() < self.engine.valid(run) || self.fault == Fault::Hasty;
        runner.alive && !runner.paused && in_time && !cell.suspended && cell.role == Role::Active
    }

    /// H2, for a process of which something changed.
    pub(super) fn check_acting(&mut self, process: &ProcessId) {
        let acts = |run: &RunIndex| {
            let cell = self.runs[*run].host.cells.get(process);
            cell.is_some_and(|cell| {
                !matches!(cell.phase, Phase::Frozen(_)) && self.acts(*run, cell)
            })
        };
        let acting: Vec<_> = (0..self.runs.len()).filter(acts).collect();
        let checked = self.checker.acting(process, &acting);
        self.judge(checked);
    }

    /// The next message of a process, if it may take one.
    pub(super) fn serve(&mut self, run: RunIndex, process: &ProcessId) {
        let Some(cell) = self.runs[run].host.cells.get(process) else {
            return;
        };
        if cell.phase != Phase::Open || cell.busy.is_some() || !self.acts(run, cell) {
            return;
        }
        let long = self.random.chance(5) && !self.quiet;
        let most = if long { 3 * SECOND } else { 5 * MILLISECOND };
        let until = self.now() + self.random.between(MILLISECOND / 10, most);
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        let Some(call) = cell.queue.pop_front() else {
            return;
        };
        cell.busy = Some((call, until));
        cell.begun += 1;
        let begun = cell.begun;
        let process = process.clone();
        self.check_acting(&process);
        let finished = Event::Finished {
            run,
            process,
            begun,
        };
        self.agenda.at(until, finished);
    }

    pub(super) fn finished(&mut self, run: RunIndex, process: &ProcessId, begun: u64) {
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        if cell.begun != begun {
            return;
        }
        let Some((call, _)) = cell.busy.take() else {
            return;
        };
        let new = cell.state.applied.insert(call);
        self.checker.counts.applied += 1;
        if !new {
            let words = format!(
                "{process} applied call {} of {} twice",
                call.number, call.caller
            );
            self.judge(Err(Violation::new("H4", words, &[process])));
        }
        self.reply(run, process, call);
        self.freeze_if_idle(run, process);
        self.serve(run, process);
    }

    /// Answers a call that was applied, if the process acts; if it has replicas, once they have it.
    pub(super) fn reply(&mut self, run: RunIndex, process: &ProcessId, call: CallId) {
        let Some(cell) = self.runs[run].host.cells.get(process) else {
            return;
        };
        if !self.acts(run, cell) {
            return;
        }
        let (state, replicas) = (&cell.state, cell.replicas.clone());
        if replicas.is_empty() {
            self.answer_call(run, process, call, cell.state.incarnation);
            return;
        }
        let state = state.clone();
        for replica in replicas {
            if let Some(to) = self.by_id.get(&replica).copied() {
                let frame: Frame<Message> = Frame::Replica {
                    process: process.clone(),
                    state: state.clone(),
                    answer: Some(call),
                };
                self.send(run, to, Class::Calls, 0, frame);
            }
        }
    }

    /// A replica holds a call: it may be answered.
    pub(super) fn replicated(&mut self, run: RunIndex, process: &ProcessId, call: Option<CallId>) {
        let cell = self.runs[run].host.cells.get(process);
        let cell = cell.filter(|cell| self.acts(run, cell));
        if let (Some(cell), Some(call)) = (cell, call) {
            self.answer_call(run, process, call, cell.state.incarnation);
        }
    }

    fn answer_call(&mut self, run: RunIndex, process: &ProcessId, call: CallId, incarnation: u64) {
        if let Some(to) = self.by_id.get(&call.caller).copied() {
            let frame = Frame::Reply {
                process: process.clone(),
                call,
                incarnation,
            };
            self.send(run, to, Class::Calls, 0, frame);
        }
    }
}
