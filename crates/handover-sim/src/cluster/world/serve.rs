//! Processes that take messages, one after the other, and answer.

use handover_hub_proto::call;
use handover_hub_proto::identity::{CallId, MoveId, ProcessId};
use handover_hub_proto::mailbox::{Arrival, Limits, Mailbox, Phase, Refusal, Released};
use handover_hub_proto::row::Role;

use super::{Event, World};
use crate::cluster::agenda::{MILLISECOND, SECOND};
use crate::cluster::checker::Violation;
use crate::cluster::fault::Fault;
use crate::cluster::host::{Answer, Called, Cell, Frame, Host};
use crate::cluster::network::{Class, RunIndex};

/// The mailbox of a process: of the one that runs, or that comes.
fn mailbox<'a>(
    host: &'a mut Host,
    process: &ProcessId,
    attempt: Option<MoveId>,
) -> Option<&'a mut Mailbox<Called, Answer>> {
    let landings = host.landings.get_mut(process).into_iter().flatten();
    let mut comes = None;
    for landing in landings {
        if comes.is_none() || (attempt.is_some() && landing.attempt == attempt) {
            comes = Some(landing);
        }
    }
    if attempt.is_some()
        && comes
            .as_ref()
            .is_some_and(|landing| landing.attempt == attempt)
    {
        return comes.map(|landing| &mut landing.mailbox);
    }
    match host.cells.get_mut(process) {
        Some(cell) => Some(&mut cell.mailbox),
        None => comes.map(|landing| &mut landing.mailbox),
    }
}

impl World {
    /// A call arrives at a host.
    pub(super) fn called(&mut self, run: RunIndex, process: &ProcessId, letter: Called) {
        let host = &mut self.runs[run].host;
        let cell = host.cells.get(process);
        if cell.is_some_and(|cell| cell.role == Role::Passive) {
            self.refuse(run, letter.0.call, Refusal::NotHere);
            return;
        }
        let went = host.went.get(process).copied();
        let Some(mailbox) = mailbox(host, process, None) else {
            match went {
                Some((to, epoch)) => self.redirect(run, letter.0.call, to, epoch),
                None => self.refuse(run, letter.0.call, Refusal::NotHere),
            }
            return;
        };
        if self.fault == Fault::Forgetful {
            mailbox.forget(letter.0.call.caller);
        }
        match mailbox.arrive(letter, &Limits::default()) {
            // A lease that was in doubt may be held again.
            Arrival::Queued { .. } | Arrival::Known => self.serve(run, process),
            Arrival::Held | Arrival::Settled => {}
            Arrival::Answered(_) => self.reply(run, process, letter.0.call),
            Arrival::Elsewhere { letter, to, epoch } => {
                self.redirect(run, letter.0.call, to, epoch);
            }
            Arrival::Refused(letter, why) => self.refuse(run, letter.0.call, why),
        }
    }

    fn refuse(&mut self, run: RunIndex, call: CallId, why: Refusal) {
        if let Some(to) = self.by_id.get(&call.caller).copied() {
            self.send(run, to, Class::Calls, 0, Frame::Refused { call, why });
        }
    }

    fn redirect(
        &mut self,
        run: RunIndex,
        call: CallId,
        to: handover_hub_proto::identity::NodeId,
        epoch: handover_hub_proto::identity::Epoch,
    ) {
        if let Some(caller) = self.by_id.get(&call.caller).copied() {
            let frame = Frame::Redirect { call, to, epoch };
            self.send(run, caller, Class::Calls, 0, frame);
        }
    }

    pub(super) fn refused(&mut self, from: RunIndex, call: CallId, why: Refusal) {
        let from = self.runs[from].id;
        self.tell_call(call, call::Input::Refused { from, why });
    }

    /// What the source of a move sent after it.
    pub(super) fn forwarded(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        attempt: Option<MoveId>,
        letters: Vec<Called>,
    ) {
        self.note(|| format!("run {run} gets {} latecomers of {process}", letters.len()));
        match mailbox(&mut self.runs[run].host, process, attempt) {
            Some(mailbox) => {
                let released = mailbox.forwarded(letters, true, &Limits::default());
                self.release(run, process, released);
            }
            None => self.turn_away(run, process, letters),
        }
    }

    /// What waited for a process that is not here: its callers ask elsewhere.
    pub(super) fn turn_away(&mut self, run: RunIndex, process: &ProcessId, letters: Vec<Called>) {
        let went = self.runs[run].host.went.get(process).copied();
        for letter in letters {
            match went {
                Some((to, epoch)) => self.redirect(run, letter.0.call, to, epoch),
                None => self.refuse(run, letter.0.call, Refusal::NotHere),
            }
        }
    }

    /// What was held is let go.
    pub(super) fn release(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        released: Released<Called, Answer>,
    ) {
        for (call, _) in released.replies {
            self.reply(run, process, call);
        }
        for (letter, why) in released.refused {
            self.refuse(run, letter.0.call, why);
        }
        self.turn_away(run, process, released.elsewhere);
        if released.frozen {
            self.frozen(run, process);
        }
        self.serve(run, process);
    }

    /// Whether a process on a node acts: takes messages, and lets replies leave.
    #[must_use]
    pub(super) fn acts(&self, run: RunIndex, cell: &Cell) -> bool {
        let runner = &self.runs[run];
        let in_time = self.now() < self.valid(run) || self.fault == Fault::Hasty;
        let serves = match cell.mailbox.phase() {
            Phase::Open | Phase::Freezing | Phase::Opening => true,
            Phase::Frozen | Phase::Restoring | Phase::Retired => false,
        };
        let still = runner.paused || cell.mailbox.is_suspended();
        // It answers nothing before it knows who must have that, nor while it becomes a passive one.
        let knows = self.plan.replicas == 0 || cell.replicas.told;
        let stays = cell.replicas.steps_down.is_none();
        let active = cell.role == Role::Active && knows && stays;
        runner.alive && !still && in_time && serves && active
    }

    /// H2, for a process of which something changed.
    pub(super) fn check_acting(&mut self, process: &ProcessId) {
        let acts = |run: &RunIndex| {
            let cell = self.runs[*run].host.cells.get(process);
            cell.is_some_and(|cell| self.acts(*run, cell))
        };
        let acting: Vec<_> = (0..self.runs.len()).filter(acts).collect();
        let checked = self.checker.acting(process, &acting);
        self.judge(checked);
    }

    /// The next message of a process, if it may take one.
    pub(super) fn serve(&mut self, run: RunIndex, process: &ProcessId) {
        let cell = self.runs[run].host.cells.get(process);
        if !cell.is_some_and(|cell| self.acts(run, cell)) {
            self.look_again(run, process, None);
            return;
        }
        let Some(cell) = self.runs[run].host.cells.get_mut(process) else {
            return;
        };
        let Some(letter) = cell.mailbox.next() else {
            return;
        };
        cell.busy = Some(letter.0.call);
        cell.begun += 1;
        let begun = cell.begun;
        let long = self.random.chance(5) && !self.quiet;
        let most = if long { 3 * SECOND } else { 5 * MILLISECOND };
        let until = self.random.between(MILLISECOND / 10, most);
        let process = process.clone();
        self.check_acting(&process);
        let finished = Event::Finished {
            run,
            process,
            begun,
        };
        self.agenda.after(until, finished);
    }

    pub(super) fn finished(&mut self, run: RunIndex, process: &ProcessId, begun: u64) {
        let cell = self.runs[run].host.cells.get_mut(process);
        let Some(cell) = cell.filter(|cell| cell.begun == begun) else {
            return;
        };
        let Some(call) = cell.busy.take() else {
            return;
        };
        let new = cell.state.applied.insert(call);
        let after = cell.mailbox.finished(Some((call, [0])));
        self.checker.counts.applied += 1;
        if !new {
            let words = format!(
                "{process} applied call {} of {} twice",
                call.number, call.caller
            );
            self.judge(Err(Violation::new("H4", words, &[process])));
        }
        if after.reply {
            self.reply(run, process, call);
        }
        if after.frozen {
            self.frozen(run, process);
        }
        self.serve(run, process);
    }

    /// Answers a call that was applied, if its node may act; if it has replicas, once they have it.
    pub(super) fn reply(&mut self, run: RunIndex, process: &ProcessId, call: CallId) {
        let Some(cell) = self.runs[run].host.cells.get(process) else {
            return;
        };
        let in_time = self.now() < self.valid(run) || self.fault == Fault::Hasty;
        if !in_time || cell.mailbox.is_suspended() {
            return self.look_again(run, process, Some(call));
        }
        if self.plan.replicas == 0 {
            let incarnation = cell.state.incarnation;
            return self.answer_call(run, process, call, incarnation);
        }
        self.update(run, process, Some(call));
    }

    /// The lease was in doubt when a message should have been taken or a reply should have left. It
    /// may be held again without the node ever having been fenced.
    fn look_again(&mut self, run: RunIndex, process: &ProcessId, reply: Option<CallId>) {
        let cell = self.runs[run].host.cells.get(process);
        let waits = cell.is_some_and(|cell| reply.is_some() || cell.mailbox.waiting() > 0);
        let fenced = self.now() >= self.valid(run);
        let suspended = cell.is_some_and(|cell| cell.mailbox.is_suspended());
        if waits && (fenced || suspended) && (reply.is_some() || !suspended) {
            let again = Event::InDoubt(run, process.clone(), reply);
            self.agenda.after(100 * MILLISECOND, again);
        }
    }

    pub(super) fn in_doubt(&mut self, run: RunIndex, process: &ProcessId, reply: Option<CallId>) {
        match reply {
            Some(call) => self.reply(run, process, call),
            None => self.serve(run, process),
        }
    }

    pub(super) fn answer_call(
        &mut self,
        run: RunIndex,
        process: &ProcessId,
        call: CallId,
        incarnation: u64,
    ) {
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
