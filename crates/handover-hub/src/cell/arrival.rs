//! Messages that arrive at a process.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, NodeId};
use handover_hub_proto::mailbox::{Arrival, Refusal as Why, Released};
use handover_hub_proto::row::Role;

use super::letter::Octets;
use super::{Cell, Letter, Phase, State, Work};
use crate::hub::Shared;
use crate::transport::frame::Refusal;

/// What its sender is told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It waits; its reply follows.
    Taken,
    /// It was handled before: this was the reply.
    Reply(Epoch, Bytes),
    /// It is not taken.
    Refused(Refusal),
    /// The process is elsewhere.
    Redirect(NodeId, Epoch),
    /// Nobody waits for it any more.
    Settled,
}

impl From<Why> for Refusal {
    fn from(why: Why) -> Self {
        match why {
            Why::Full => Self::Full,
            Why::NotHere => Self::NotHere,
        }
    }
}

impl Cell {
    /// Takes a message whose sender believes the process to run under `epoch`.
    pub(crate) fn receive(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        letter: Letter,
        epoch: Epoch,
    ) -> Verdict {
        let mut state = self.lock();
        if let Some(refusal) = state.refuses(epoch) {
            return Verdict::Refused(refusal);
        }
        match state.mailbox.arrive(letter, &shared.limits) {
            Arrival::Queued { runnable } => {
                if runnable && state.phase == Phase::Serving {
                    self.wake(shared, state);
                }
                Verdict::Taken
            }
            Arrival::Held | Arrival::Known => Verdict::Taken,
            // A node that may not act lets no reply leave, of the past neither (H12).
            Arrival::Answered(_) if !shared.may_act() => Verdict::Refused(Refusal::Suspended),
            Arrival::Answered(reply) => Verdict::Reply(state.epoch, reply.0),
            Arrival::Settled => Verdict::Settled,
            Arrival::Elsewhere { to, epoch, .. } => Verdict::Redirect(to, epoch),
            Arrival::Refused(_, why) => Verdict::Refused(why.into()),
        }
    }

    /// A message that its source sent after it.
    pub(crate) fn forwarded(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        letter: Option<Letter>,
        last: bool,
    ) {
        let mut state = self.lock();
        match state.phase {
            Phase::Vacant | Phase::Warm | Phase::Ended => return,
            Phase::Landed(_) | Phase::Serving | Phase::Frozen(_) | Phase::Retired => {}
        }
        let batch = letter.into_iter().collect();
        let released = state.mailbox.forwarded(batch, last, &shared.limits);
        self.release(shared, state, released);
    }

    /// Nobody sends latecomers any more.
    pub(super) fn opened(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut state = self.lock();
        let released = state.mailbox.opened(&shared.limits);
        self.release(shared, state, released);
    }

    /// The whole node stands still: nothing is taken, and no reply leaves (H12).
    pub(crate) fn suspend(&self) {
        self.lock().mailbox.suspend();
    }

    /// The home has confirmed it after its node stood still (H12).
    pub(crate) fn proceed(self: &Arc<Self>, shared: &Arc<Shared>, epoch: Epoch) {
        let mut state = self.lock();
        state.epoch = state.epoch.max(epoch);
        let released = state.mailbox.proceed();
        self.release(shared, state, released);
    }

    /// Does what is due for messages that were held.
    pub(super) fn release(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        mut state: MutexGuard<'_, State>,
        released: Released<Letter, Octets>,
    ) {
        if released.frozen
            && let Some(freeze) = state.rare.as_mut().and_then(|rare| rare.freeze.take())
        {
            state.work.push_front(Work::Order(freeze));
        }
        let epoch = state.epoch;
        let elsewhere = state.mailbox.elsewhere();
        let serving = state.phase == Phase::Serving && released.runnable;
        if serving || !state.work.is_empty() {
            self.wake(shared, state);
        } else {
            drop(state);
        }
        for (call, reply) in released.replies {
            shared.reply(call, epoch, reply.0);
        }
        for (letter, why) in released.refused {
            if let Some(ticket) = letter.ticket {
                shared.refuse(ticket.call, why.into());
            }
        }
        for letter in released.elsewhere {
            match (letter.ticket, elsewhere) {
                (Some(ticket), Some((to, epoch))) => {
                    shared.redirect(ticket.call, self.id(), to, epoch);
                }
                (Some(ticket), None) => shared.refuse(ticket.call, Refusal::NotHere),
                (None, _) => shared.cast_on(self.id().clone(), letter.body),
            }
        }
    }
}

impl State {
    fn refuses(&self, epoch: Epoch) -> Option<Refusal> {
        match self.phase {
            Phase::Vacant | Phase::Warm | Phase::Ended => return Some(Refusal::NotHere),
            // Retired, it says where; landed, it is held until the home has decided.
            Phase::Retired | Phase::Landed(_) => return None,
            Phase::Serving | Phase::Frozen(_) => {}
        }
        if self.role == Role::Passive {
            return Some(Refusal::NotHere);
        }
        if self.epoch < epoch {
            // Who calls knows more than this node: its home will tell it.
            return Some(Refusal::Epoch { found: self.epoch });
        }
        None
    }
}
