//! The task of a process that has something to do.

use std::sync::Arc;

use bytes::Bytes;
use handover_hub_proto::identity::CallId;
use handover_hub_proto::node::HostOrder;
use handover_hub_proto::row::Role;

use super::letter::Octets;
use super::{Cell, Letter, Phase, Work};
use crate::hub::Shared;
use crate::kind::{Body, Handled, guard};
use crate::process::End;
use crate::transport::frame::Refusal;

/// What comes next. What was ordered goes before messages.
enum Next {
    Work(Work, Option<Box<dyn Body>>),
    Letter(Letter, Box<dyn Body>),
    Nothing,
}

/// Does what is to be done to a process, and handles its messages, until nothing is left.
pub(super) async fn run(shared: Arc<Shared>, cell: Arc<Cell>) {
    loop {
        match cell.next(&shared) {
            Next::Work(work, body) => cell.work(&shared, work, body).await,
            Next::Letter(letter, body) => cell.serve(&shared, letter, body).await,
            Next::Nothing => return,
        }
        tokio::task::coop::consume_budget().await;
    }
}

impl Cell {
    fn next(&self, shared: &Shared) -> Next {
        let mut state = self.lock();
        while let Some(work) = state.work.pop_front() {
            match work {
                // Under one lock with what takes it out: a later one must not be undone by it.
                Work::Order(HostOrder::Replicate { to, .. }) => state.set_replicas(shared, &to),
                work => return Next::Work(work, state.body.take()),
            }
        }
        // A node that may not act takes nothing; its engine fences it, and then its home confirms
        // what may go on (H2, H12).
        if state.phase == Phase::Serving
            && state.role == Role::Active
            && state.knows_replicas(shared)
            && !shared.is_held()
            && shared.may_act()
            && let Some(body) = state.body.take()
        {
            match state.mailbox.next() {
                Some(letter) => return Next::Letter(letter, body),
                None => state.body = Some(body),
            }
        }
        state.work = std::collections::VecDeque::new();
        state.running = false;
        Next::Nothing
    }

    async fn work(self: &Arc<Self>, shared: &Arc<Shared>, work: Work, body: Option<Box<dyn Body>>) {
        match work {
            Work::Order(order) => self.obey(shared, order, body).await,
            Work::Land { attempt, state } => self.land(shared, attempt, &state, body),
            Work::Synchronise => {
                let body = self.synchronise(shared, body).await;
                self.put_back(body);
            }
            Work::GoOn => self.went_on(shared, body).await,
            Work::Checkpoint => {
                let body = self.checkpoint(shared, body).await;
                self.put_back(body);
            }
        }
    }

    async fn obey(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        order: HostOrder,
        body: Option<Box<dyn Body>>,
    ) {
        self.before(shared, &order).await;
        match order {
            HostOrder::Warm {
                spec,
                epoch,
                attempt,
            } => self.warm(shared, &spec, (epoch, attempt), body).await,
            HostOrder::Activate {
                epoch,
                origin,
                role,
                latecomers,
                ..
            } => {
                self.activate(shared, (epoch, role), (origin, latecomers), body)
                    .await;
            }
            HostOrder::Freeze {
                epoch,
                attempt,
                forced,
                ..
            } => self.freeze(shared, (epoch, attempt, forced), body),
            HostOrder::SendState {
                attempt, to, epoch, ..
            } => self.send_state(shared, (attempt, to, epoch), body),
            HostOrder::Resume { attempt, epoch, .. } => {
                self.resume(shared, (attempt, epoch), body).await;
            }
            HostOrder::Retire {
                attempt, to, epoch, ..
            } => self.retire(shared, (attempt, to, epoch), body),
            HostOrder::Discard { attempt, .. } => self.discard(shared, attempt, body),
            HostOrder::Stop { epoch, .. } => self.stop(shared, epoch, body).await,
            HostOrder::Role {
                epoch,
                role: Role::Passive,
                ..
            } => self.step_down(shared, epoch, body).await,
            HostOrder::Role { epoch, role, .. } => self.change_role(shared, (epoch, role), body),
            HostOrder::Merge { attempt, epoch, .. } => self.merge(shared, (attempt, epoch), body),
            // They are done at once, a process that is busy must not hold them up.
            HostOrder::Replicate { .. } | HostOrder::Suspend | HostOrder::Continue { .. } => {
                self.put_back(body);
            }
        }
    }

    /// Returns the process to its cell.
    pub(super) fn put_back(&self, body: Option<Box<dyn Body>>) {
        if body.is_some() {
            self.lock().body = body;
        }
    }

    /// Handles one message.
    async fn serve(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        letter: Letter,
        mut body: Box<dyn Body>,
    ) {
        let mut context = self.context(shared);
        let call = letter.ticket.map(|ticket| ticket.call);
        let handled = body.handle(&letter.body, &mut context).await;
        let wishes = std::mem::take(&mut context.wishes);
        match handled {
            Handled::Reply(reply) => {
                self.remind(shared, wishes.later);
                let answer = letter.ticket.map(|ticket| (ticket, reply.clone()));
                let kept = self.replicate(shared, body.as_mut(), answer).await;
                self.put_back(Some(body));
                if kept {
                    self.answer(shared, call.map(|call| (call, reply)));
                } else {
                    let _ = self.lock().mailbox.crashed(call);
                }
                self.changed(shared);
                self.after(shared, wishes.end).await;
            }
            Handled::Malformed(reason) => {
                self.put_back(Some(body));
                self.give_up(shared, call, Refusal::Failed(reason));
            }
            Handled::Panicked(reason) => {
                drop_body(Some(body));
                self.give_up(shared, call, Refusal::Crashed(reason.clone()));
                self.crashed(shared, reason).await;
            }
        }
    }

    /// A message was handled. Its reply leaves, or is kept until the home has confirmed this
    /// process (H12).
    fn answer(&self, shared: &Arc<Shared>, reply: Option<(CallId, Bytes)>) {
        let mut state = self.lock();
        if !shared.may_act() {
            state.mailbox.suspend();
        }
        let kept = reply
            .as_ref()
            .map(|(call, reply)| (*call, Octets(reply.clone())));
        let finished = state.mailbox.finished(kept);
        let epoch = state.epoch;
        drop(state);
        if let Some((call, reply)) = reply.filter(|_| finished.reply) {
            shared.reply(call, epoch, reply);
        }
    }

    /// A message was not handled, and will not go better another time.
    fn give_up(&self, shared: &Arc<Shared>, call: Option<CallId>, refusal: Refusal) {
        // A freeze waits for work to be done, never for a message: it cannot be complete by this.
        let _ = self.lock().mailbox.crashed(call);
        if let Some(call) = call {
            shared.refuse(call, refusal);
        }
    }

    /// What the process wished for itself.
    async fn after(self: &Arc<Self>, shared: &Arc<Shared>, end: Option<End>) {
        match end {
            None => {}
            Some(End::Finished) => self.finished(shared).await,
            Some(End::Failed(stop)) => {
                let body = self.lock().body.take();
                drop_body(body);
                self.crashed(shared, stop.reason().to_owned()).await;
            }
        }
    }
}

/// Drops a process: its destructor is its own code, and may panic.
pub(super) fn drop_body(body: Option<Box<dyn Body>>) {
    if let Err(fault) = guard(|| drop(body)) {
        tracing::warn!(%fault, "a process failed while it was dropped");
    }
}
