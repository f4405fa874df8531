//! What arrives, what is served, and what is answered.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::queue::{self, Queue, is_full};
use super::{Arrival, Finished, Letter, Limits, Mailbox, Refusal, Released, State};
use crate::identity::{CallId, NodeId};
use crate::reply::{Known, Remembered};

/// Of a process on its way, queue and latecomers together have this much room. Without it each move
/// that fails would add to the queue.
const ON_THE_WAY: usize = 2;

/// A message sent after a process, or one that was held, was taken once already: there is room for
/// all that was on the way, and what arrived directly.
const TAKEN_BEFORE: usize = ON_THE_WAY + 1;

impl<M: Letter, B: AsRef<[u8]> + Clone> Mailbox<M, B> {
    /// A message arrives.
    pub fn arrive(&mut self, letter: M, limits: &Limits) -> Arrival<M, B> {
        match &self.state {
            State::Open { .. } | State::Freezing { opening: None, .. } => {
                self.enqueue(letter, limits, 1)
            }
            State::Freezing {
                opening: Some(_), ..
            }
            | State::Frozen { .. }
            | State::Restoring { .. }
            | State::Opening { .. } => self.hold(letter, limits),
            State::Retired { to } => {
                let (to, epoch) = **to;
                Arrival::Elsewhere { letter, to, epoch }
            }
        }
    }

    /// The next message to serve: none while another one is served, nor while it stands still. Each
    /// one must be followed by [`Self::finished`].
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<M> {
        // H12: a suspended process is not served.
        if self.suspended.is_some() {
            return None;
        }
        let (State::Open { busy } | State::Opening { busy, .. }) = &mut self.state else {
            return None;
        };
        if *busy {
            return None;
        }
        let letter = queue::pop(&mut self.queue);
        *busy = letter.is_some();
        letter
    }

    /// The process has finished the message that was taken out; `reply` if that was a call. From then
    /// on the call is known to be applied.
    pub fn finished(&mut self, reply: Option<(CallId, B)>) -> Finished {
        let retired = match &mut self.state {
            State::Open { busy } | State::Opening { busy, .. } | State::Freezing { busy, .. } => {
                *busy = false;
                false
            }
            State::Frozen { .. } | State::Restoring { .. } => false,
            // What it was applied to is not what serves now: its caller asks there.
            State::Retired { .. } => true,
        };
        let mut leaves = !retired;
        if let Some((call, reply)) = reply
            && !retired
        {
            self.replies.get_or_insert_default().answer(call, reply);
            if let Some(withheld) = &mut self.suspended {
                withheld.push(call);
                leaves = false;
            }
        }
        Finished {
            reply: leaves,
            frozen: self.complete_freeze(),
        }
    }

    /// The process crashed over the message that was taken out: if that is called again, it is
    /// applied to what was started instead.
    pub fn crashed(&mut self, call: Option<CallId>) -> Finished {
        if let (Some(replies), Some(call)) = (&mut self.replies, call) {
            replies.abandon(call);
        }
        self.finished(None)
    }

    /// The reply of a call that was applied.
    #[must_use]
    pub fn reply(&self, call: CallId) -> Option<&B> {
        match self.replies.as_ref()?.known(call) {
            Known::Answered(reply) => Some(reply),
            Known::New | Known::Waits | Known::Settled | Known::Full => None,
        }
    }

    /// What is known of calls that were answered: for a copy that may have to go on with them.
    #[must_use]
    pub fn remembered(&self) -> Vec<Remembered<B>> {
        let replies = self.replies.as_ref();
        replies.map_or_else(Vec::new, |replies| replies.remembered())
    }

    /// A caller has all answers below a number: see [`Replies::settle`](crate::reply::Replies::settle).
    pub fn settle(&mut self, caller: NodeId, floor: u64) {
        if let Some(replies) = &mut self.replies {
            replies.settle(caller, floor);
        }
    }

    /// A node is gone: see [`Replies::forget`](crate::reply::Replies::forget).
    pub fn forget(&mut self, caller: NodeId) {
        if let Some(replies) = &mut self.replies {
            replies.forget(caller);
            if replies.is_empty() {
                self.replies = None;
            }
        }
    }

    /// H12: nothing is served and no reply leaves, until [`Self::proceed`].
    pub fn suspend(&mut self) {
        self.suspended.get_or_insert_default();
    }

    /// Its home has confirmed it.
    pub fn proceed(&mut self) -> Released<M, B> {
        let mut released = Released::nothing();
        for call in self
            .suspended
            .take()
            .map(|calls| *calls)
            .unwrap_or_default()
        {
            if let Some(reply) = self.reply(call) {
                released.replies.push((call, reply.clone()));
            }
        }
        released.runnable = self.is_runnable();
        released
    }

    /// Its process stops here for good: what waited. The mailbox is of no use any more.
    #[must_use]
    pub fn close(self) -> Vec<M> {
        let held = match self.state {
            State::Open { .. } | State::Retired { .. } => None,
            State::Freezing { opening: held, .. }
            | State::Frozen { late: held, .. }
            | State::Restoring { held, .. }
            | State::Opening { held, .. } => held,
        };
        let queues = self.queue.into_iter().chain(held);
        queues.flat_map(|queue| queue.into_letters()).collect()
    }

    pub(super) fn is_runnable(&self) -> bool {
        let idle = match self.state {
            State::Open { busy } | State::Opening { busy, .. } => !busy,
            State::Freezing { .. }
            | State::Frozen { .. }
            | State::Restoring { .. }
            | State::Retired { .. } => false,
        };
        idle && self.suspended.is_none() && self.queue.as_ref().is_some_and(|queue| queue.len() > 0)
    }

    pub(super) fn enqueue(&mut self, letter: M, limits: &Limits, times: usize) -> Arrival<M, B> {
        let full = is_full(self.queue.as_deref(), limits, times);
        if let Some(ticket) = letter.ticket() {
            let replies = self.replies.get_or_insert_default();
            match replies.admit(ticket, &limits.replies) {
                Known::New if full => {
                    replies.abandon(ticket.call);
                    return Arrival::Refused(letter, Refusal::Full);
                }
                Known::New => {}
                Known::Waits => return Arrival::Known,
                Known::Answered(reply) => {
                    let reply = reply.clone();
                    return self.answer_again(ticket.call, reply, limits);
                }
                Known::Settled => return Arrival::Settled,
                Known::Full => return Arrival::Refused(letter, Refusal::Full),
            }
        } else if full {
            return Arrival::Refused(letter, Refusal::Full);
        }
        queue::push(&mut self.queue, letter);
        let runnable = self.is_runnable();
        Arrival::Queued { runnable }
    }

    /// Keeps a message until it is known what becomes of the process. The cache is not changed: it
    /// may be on its way.
    fn hold(&mut self, letter: M, limits: &Limits) -> Arrival<M, B> {
        if let (Some(ticket), Some(replies)) = (letter.ticket(), &self.replies) {
            match replies.known(ticket.call) {
                Known::New | Known::Full => {}
                Known::Waits => return Arrival::Known,
                Known::Answered(reply) => {
                    let reply = reply.clone();
                    // What is only restored is not this node's to tell.
                    if !matches!(self.state, State::Restoring { .. }) {
                        return self.answer_again(ticket.call, reply, limits);
                    }
                }
                Known::Settled => return Arrival::Settled,
            }
        }
        let queue = self.queue.as_deref();
        let crowded = |held: Option<&Queue<M>>| {
            is_full(held, limits, 1) || is_full(held.into_iter().chain(queue), limits, ON_THE_WAY)
        };
        let held = match &mut self.state {
            State::Freezing {
                opening: Some(held),
                ..
            } => {
                if crowded(Some(held)) {
                    return Arrival::Refused(letter, Refusal::Full);
                }
                held.add(letter);
                return Arrival::Held;
            }
            State::Frozen { late: held, .. }
            | State::Restoring { held, .. }
            | State::Opening { held, .. } => held,
            State::Open { .. } | State::Freezing { .. } | State::Retired { .. } => {
                return Arrival::Refused(letter, Refusal::NotHere);
            }
        };
        if crowded(held.as_deref()) {
            return Arrival::Refused(letter, Refusal::Full);
        }
        queue::push(held, letter);
        Arrival::Held
    }

    fn answer_again(&mut self, call: CallId, reply: B, limits: &Limits) -> Arrival<M, B> {
        match &mut self.suspended {
            None => Arrival::Answered(reply),
            // H12: no reply leaves; one of them is enough, later.
            Some(withheld) if withheld.contains(&call) || withheld.len() >= limits.messages => {
                Arrival::Known
            }
            Some(withheld) => {
                withheld.push(call);
                Arrival::Held
            }
        }
    }

    /// Takes in what was taken once already, in order.
    pub(super) fn take_in(
        &mut self,
        letters: impl IntoIterator<Item = M>,
        limits: &Limits,
        released: &mut Released<M, B>,
    ) {
        for letter in letters {
            let call = letter.ticket().map(|ticket| ticket.call);
            match self.enqueue(letter, limits, TAKEN_BEFORE) {
                Arrival::Queued { .. } | Arrival::Known | Arrival::Held | Arrival::Settled => {}
                Arrival::Answered(reply) => released.replies.extend(call.map(|call| (call, reply))),
                Arrival::Elsewhere { letter, .. } => released.elsewhere.push(letter),
                Arrival::Refused(letter, why) => released.refused.push((letter, why)),
            }
        }
    }
}

impl<M, B> Released<M, B> {
    pub(super) const fn nothing() -> Self {
        Self {
            runnable: false,
            frozen: false,
            replies: Vec::new(),
            refused: Vec::new(),
            elsewhere: Vec::new(),
        }
    }
}

impl<M, B> Mailbox<M, B> {
    /// A freeze that waits is complete if nothing is served and no latecomers are missing.
    pub(super) fn complete_freeze(&mut self) -> bool {
        let complete = matches!(
            self.state,
            State::Freezing {
                busy: false,
                opening: None
            }
        );
        if complete {
            let (sealed, late) = (false, None::<Box<_>>);
            self.state = State::Frozen { sealed, late };
        }
        complete
    }
}
