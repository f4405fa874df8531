//! A mailbox on its way from one node to another.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::queue::{self, Queue};
use super::{Freeze, Letter, Limits, Mailbox, Released, Sealed, State};
use crate::identity::{Epoch, NodeId};
use crate::reply::Known;

fn letters<M>(queue: Option<Box<Queue<M>>>) -> impl Iterator<Item = M> {
    queue.into_iter().flat_map(|queue| queue.into_letters())
}

impl<M: Letter, B: AsRef<[u8]> + Clone> Mailbox<M, B> {
    /// Serves nothing more, for a move. What is being served is finished first; so are the latecomers
    /// of its last move, or they would come after what arrived here (H11).
    pub fn freeze(&mut self) -> Freeze {
        self.state = match mem::replace(&mut self.state, State::Open { busy: false }) {
            State::Open { busy } => State::Freezing {
                busy,
                opening: None,
            },
            State::Opening { busy, held } => State::Freezing {
                busy,
                opening: Some(held.unwrap_or_default()),
            },
            state @ (State::Freezing { .. } | State::Frozen { .. }) => state,
            state @ (State::Restoring { .. } | State::Retired { .. }) => {
                self.state = state;
                return Freeze::Refused;
            }
        };
        self.complete_freeze();
        match self.state {
            State::Frozen { .. } => Freeze::Frozen,
            State::Open { .. }
            | State::Freezing { .. }
            | State::Restoring { .. }
            | State::Opening { .. }
            | State::Retired { .. } => Freeze::Later,
        }
    }

    /// What moves with the state; nothing unless it is frozen. Everything stays here as well, for the
    /// case that the move fails.
    pub fn seal(&mut self) -> Option<Sealed<M, B>>
    where
        M: Clone,
    {
        let State::Frozen { sealed, .. } = &mut self.state else {
            return None;
        };
        *sealed = true;
        let queue = self.queue.iter().flat_map(|queue| queue.iter());
        let replies = self.replies.as_ref();
        Some(Sealed {
            queue: queue.cloned().collect(),
            replies: replies.map_or_else(Vec::new, |replies| replies.remembered()),
        })
    }

    /// The move failed: it is served again, and so is what arrived meanwhile. Changes nothing if it
    /// is not frozen or freezing.
    pub fn resume(&mut self, limits: &Limits) -> Released<M, B> {
        let mut released = Released::nothing();
        match mem::replace(&mut self.state, State::Open { busy: false }) {
            State::Freezing {
                busy,
                opening: None,
            } => self.state = State::Open { busy },
            State::Freezing {
                busy,
                opening: Some(held),
            } => {
                let held = Some(held);
                self.state = State::Opening { busy, held };
            }
            State::Frozen { late, .. } => self.take_in(letters(late), limits, &mut released),
            state @ (State::Open { .. }
            | State::Restoring { .. }
            | State::Opening { .. }
            | State::Retired { .. }) => self.state = state,
        }
        released.runnable = self.is_runnable();
        released
    }

    /// The process serves elsewhere. Returns what is to be sent after it, in order: what did not move
    /// with its state. That it was all is to be said with it. A message that is being served has no
    /// state any more; its caller asks elsewhere.
    #[must_use]
    pub fn retire(&mut self, to: NodeId, epoch: Epoch) -> Vec<M> {
        let begin = State::Retired {
            to: Box::new((to, epoch)),
        };
        let queue = self.queue.take();
        self.replies = None;
        self.suspended = None;
        match mem::replace(&mut self.state, begin) {
            // H11: what was sealed is there already, only the latecomers are not.
            State::Frozen { sealed: true, late } => letters(late).collect(),
            State::Frozen { late: held, .. }
            | State::Freezing { opening: held, .. }
            | State::Opening { held, .. } => letters(queue).chain(letters(held)).collect(),
            State::Open { .. } => letters(queue).collect(),
            // The queue is a copy of what its source has.
            State::Restoring { held, .. } => letters(held).collect(),
            State::Retired { to: before } => {
                if before.1 > epoch {
                    self.state = State::Retired { to: before };
                }
                Vec::new()
            }
        }
    }

    /// What came with the state of a process that may come here. It is not served before
    /// [`Self::activate`]. Replaces what came before.
    pub fn restore(&mut self, sealed: Sealed<M, B>) {
        let State::Restoring { .. } = self.state else {
            return;
        };
        self.queue = None;
        self.replies = None;
        if !sealed.replies.is_empty() {
            let replies = self.replies.get_or_insert_default();
            replies.absorb(sealed.replies);
        }
        for letter in sealed.queue {
            if let Some(ticket) = letter.ticket() {
                self.replies
                    .get_or_insert_default()
                    .await_reply(ticket.call);
            }
            queue::push(&mut self.queue, letter);
        }
    }

    /// The process serves here from now on. `latecomers`: its source will send what it holds, and say
    /// when that is all; what arrives directly waits for it.
    pub fn activate(&mut self, latecomers: bool, limits: &Limits) -> Released<M, B> {
        let mut released = Released::nothing();
        match mem::replace(&mut self.state, State::Open { busy: false }) {
            State::Restoring {
                complete: false,
                held,
            } if latecomers => {
                let busy = false;
                self.state = State::Opening { busy, held };
            }
            State::Restoring { held, .. } => self.take_in(letters(held), limits, &mut released),
            state @ (State::Open { .. }
            | State::Freezing { .. }
            | State::Frozen { .. }
            | State::Opening { .. }
            | State::Retired { .. }) => self.state = state,
        }
        released.runnable = self.is_runnable();
        released
    }

    /// What the source sent after the process. `last`: that was all.
    pub fn forwarded(&mut self, batch: Vec<M>, last: bool, limits: &Limits) -> Released<M, B> {
        let mut released = Released::nothing();
        match &mut self.state {
            State::Retired { .. } => released.elsewhere = batch,
            // Its end was given up before, and it moves again: with those that come now.
            State::Frozen { late, .. } => {
                for letter in batch {
                    queue::push(late, letter);
                }
            }
            State::Restoring { complete, .. } => {
                *complete |= last;
                self.take_in(batch, limits, &mut released);
            }
            State::Open { .. } | State::Freezing { .. } | State::Opening { .. } => {
                self.take_in(batch, limits, &mut released);
            }
        }
        if last {
            self.end_opening(limits, &mut released);
        }
        released.runnable = self.is_runnable();
        released
    }

    /// No more latecomers are waited for: their sender is gone, or they take too long.
    pub fn opened(&mut self, limits: &Limits) -> Released<M, B> {
        let mut released = Released::nothing();
        self.end_opening(limits, &mut released);
        released.runnable = self.is_runnable();
        released
    }

    /// Takes what another copy of the process had, whose state was merged into this one: what it had
    /// answered is not applied here.
    pub fn merge(&mut self, sealed: Sealed<M, B>, limits: &Limits) -> Released<M, B> {
        let mut released = Released::nothing();
        if let State::Retired { .. } = self.state {
            released.elsewhere = sealed.queue;
            return released;
        }
        let replies = self.replies.get_or_insert_default();
        replies.absorb(sealed.replies);
        for letter in letters(self.queue.take()) {
            let call = letter.ticket().map(|ticket| ticket.call);
            match call.map(|call| (call, replies.known(call))) {
                Some((call, Known::Answered(reply))) => {
                    released.replies.push((call, reply.clone()));
                }
                // Its caller has the answer of the other copy, whose state has it applied.
                Some((_, Known::Settled)) => {}
                Some((_, Known::New | Known::Waits | Known::Full)) | None => {
                    queue::push(&mut self.queue, letter);
                }
            }
        }
        self.take_in(sealed.queue, limits, &mut released);
        released.runnable = self.is_runnable();
        released
    }

    fn end_opening(&mut self, limits: &Limits, released: &mut Released<M, B>) {
        match &mut self.state {
            State::Opening { busy, held } => {
                let (busy, held) = (*busy, held.take());
                self.state = State::Open { busy };
                self.take_in(letters(held), limits, released);
            }
            State::Freezing { opening, .. } => {
                let held = opening.take();
                self.take_in(letters(held), limits, released);
                released.frozen = self.complete_freeze();
            }
            State::Open { .. }
            | State::Frozen { .. }
            | State::Restoring { .. }
            | State::Retired { .. } => {}
        }
    }
}
