//! Clients that call processes: the callers' machines, and what becomes of their calls.

use handover_hub_proto::call::{self, Effect, Input, Outcome};
use handover_hub_proto::identity::{CallId, ProcessId};
use handover_hub_proto::row::Rows;
use handover_proto::moment::{Machine, Moment};

use super::{Event, UnderWay, World};
use crate::cluster::agenda::SECOND;
use crate::cluster::checker::{Violation, Wanted};
use crate::cluster::host::Frame;
use crate::cluster::network::{Class, RunIndex};

/// How long a caller waits for an answer.
const PATIENCE: u64 = 45 * SECOND;

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
        let runs = self.settled_runs();
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
        let ticket = self.runs[run].ledger.begin(&process);
        let deadline = Moment::from_nanos(self.now() + PATIENCE);
        let under_way = UnderWay {
            run,
            process,
            machine: call::Call::new(deadline, call::Settings::default()),
            may_fail: false,
            tick: None,
        };
        self.calls.insert(ticket.call, under_way);
        self.carry_on(ticket.call);
        ticket.call
    }

    /// Tells a call something, and does what it wants.
    pub(super) fn tell_call(&mut self, call: CallId, input: Input) {
        let moment = Moment::from_nanos(self.now());
        if let Some(under_way) = self.calls.get_mut(&call) {
            under_way.machine.handle(moment, input);
            self.carry_on(call);
        }
    }

    fn carry_on(&mut self, call: CallId) {
        let moment = Moment::from_nanos(self.now());
        loop {
            let Some(under_way) = self.calls.get_mut(&call) else {
                return;
            };
            let (run, process) = (under_way.run, under_way.process.clone());
            let Some(effect) = under_way.machine.poll_effect() else {
                break;
            };
            match effect {
                Effect::LookUp => {
                    let row = self.runs[run].machine.rows().get(&process);
                    let row = Input::Row(row.map(|row| row.active()));
                    under_way.machine.handle(moment, row);
                }
                Effect::Send { to, epoch: _ } => {
                    if let Some(to) = self.by_id.get(&to).copied() {
                        let ticket = self.runs[run].ledger.again(&process, call);
                        let frame = Frame::Call { process, ticket };
                        self.send(run, to, Class::Calls, 0, frame);
                    }
                }
                Effect::Finish(outcome) => self.ended(call, run, &process, outcome),
            }
        }
        let now = self.now();
        let Some(under_way) = self.calls.get_mut(&call) else {
            return;
        };
        let deadline = under_way.machine.next_deadline();
        let deadline = deadline.map(|at| at.as_nanos().max(now));
        if deadline != under_way.tick {
            under_way.tick = deadline;
            if let Some(at) = deadline {
                self.agenda.at(at, Event::Again(under_way.run, call, at));
            }
        }
    }

    fn ended(&mut self, call: CallId, run: RunIndex, process: &ProcessId, outcome: Outcome) {
        let number = call.number;
        self.note(|| format!("run {run} ends call {number} of {process}: {outcome:?}"));
        let ended = self.calls.remove(&call);
        let may_fail = ended.is_some_and(|under_way| under_way.may_fail);
        self.runs[run].ledger.end(process, call);
        match outcome {
            Outcome::Answered => self.checker.acknowledged(process, call),
            Outcome::Unknown | Outcome::TimedOut => {
                self.checker.counts.given_up += 1;
                let running = self.checker.child(process).wanted == Wanted::Running;
                let due = self.quiet && running && !may_fail;
                if due && !self.waits_for_its_node(process, &self.living()) {
                    let words = format!(
                        "{process} did not answer call {number} of run {run} ({outcome:?}): {}",
                        self.hosts_of(process)
                    );
                    self.judge(Err(Violation::new("H8", words, &[process])));
                }
            }
        }
    }

    /// Who has something of a process, in words.
    pub(super) fn hosts_of(&self, process: &ProcessId) -> String {
        let mut found = Vec::new();
        for run in self.living() {
            let host = &self.runs[run].host;
            let valid = self.valid(run) > self.now();
            if let Some(cell) = host.cells.get(process) {
                let mailbox = &cell.mailbox;
                let (phase, waits) = (mailbox.phase(), mailbox.waiting());
                let still = mailbox.is_suspended();
                found.push(format!(
                    "run {run}: {phase:?} {} waits {waits} still {still} valid {valid} {:?}",
                    cell.epoch, cell.attempt
                ));
            }
            for landing in host.landings.get(process).into_iter().flatten() {
                let arrived = landing.arrived.is_some();
                found.push(format!("run {run}: lands {:?} {arrived}", landing.attempt));
            }
            if let Some(row) = self.runs[run].machine.rows().get(process) {
                found.push(format!("run {run}: row {:?}", row.hosts()));
            }
        }
        found.join("; ")
    }

    pub(super) fn again(&mut self, call: CallId, at: u64) {
        if let Some(under_way) = self.calls.get_mut(&call)
            && under_way.tick == Some(at)
        {
            under_way.tick = None;
            self.tell_call(call, Input::Tick);
        }
    }

    /// The calls of a run to a process learn what its row says now.
    pub(super) fn row_changed(&mut self, run: RunIndex, process: &ProcessId) {
        let calls = self.calls.iter();
        let mine = calls.filter(|(_, call)| call.run == run && call.process == *process);
        let mine: Vec<_> = mine.map(|(id, _)| *id).collect();
        if mine.is_empty() {
            return;
        }
        let row = self.runs[run].machine.rows().get(process);
        let row = row.map(|row| row.active());
        for call in mine {
            self.tell_call(call, Input::Row(row));
        }
    }

    pub(super) fn calls_lost(&mut self, run: RunIndex, peer: RunIndex) {
        let calls = self.calls.iter();
        let mine = calls.filter(|(_, call)| call.run == run);
        let mine: Vec<_> = mine.map(|(id, _)| *id).collect();
        let peer = self.runs[peer].id;
        for call in mine {
            self.tell_call(call, Input::Disconnected(peer));
        }
    }
}
