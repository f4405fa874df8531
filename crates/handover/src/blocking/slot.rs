//! Where a listening socket lives, so that the drain can take it away from the threads that accept.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};

use super::connection::Connection;
use super::stream::Stream;
use crate::address::Address;
use crate::bell::Bell;
use crate::ledger::{Ledger, lock};
use crate::listener::{MAX_QUEUE, Trouble, classify};
use crate::takeover::Shared;

#[derive(Debug)]
enum State<S: Stream> {
    /// Nobody has accepted on it yet. Until then it is as it came: whether it blocks is a property
    /// of all processes that hold it, and an incumbent of another library may count on it.
    Fresh(Arc<S::Listener>),
    Open(Arc<S::Listener>),
    /// Kept, not used.
    Paused(Arc<S::Listener>),
    /// Only what was queued when it closed is left.
    Closed(VecDeque<Connection<S>>),
}

/// What an attempt to accept came to.
#[derive(Debug)]
pub(super) enum Step<S: Stream> {
    Accepted(Connection<S>),
    /// Nothing is queued, or another process was faster.
    Empty(Arc<S::Listener>),
    Failed(io::Error),
    /// The drain has stopped it.
    Over,
}

/// A listening socket that its owner and the drain share.
#[derive(Debug)]
pub(super) struct Slot<S: Stream> {
    state: Mutex<State<S>>,
    changed: Condvar,
    ledger: Arc<Ledger>,
    /// Whether another process holds the same socket.
    shared: Shared,
    /// Whether that may be one that makes the socket block when it starts, and counts on that when
    /// it is its turn (beyond-handoff 0.1.4 does).
    contested: bool,
}

impl<S: Stream> Slot<S> {
    pub(super) fn new(
        socket: S::Listener,
        shared: Shared,
        contested: bool,
        ledger: Arc<Ledger>,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Fresh(Arc::new(socket))),
            changed: Condvar::new(),
            ledger,
            shared,
            contested,
        })
    }

    /// Accepts without waiting for a connection; waits while the listener is paused.
    pub(super) fn accept(&self) -> Step<S> {
        let mut state = lock(&self.state);
        loop {
            match &mut *state {
                State::Fresh(socket) => {
                    if let Err(error) = set_nonblocking(&**socket, true) {
                        return Step::Failed(error);
                    }
                    *state = State::Open(Arc::clone(socket));
                }
                // Counted under the lock: once the drain has closed the slot, no connection
                // appears.
                State::Open(socket) => {
                    return match self.accept_on(socket) {
                        Ok((stream, peer)) => {
                            Step::Accepted(Connection::new(stream, peer, self.ledger.open()))
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            Step::Empty(Arc::clone(socket))
                        }
                        Err(error) => Step::Failed(error),
                    };
                }
                State::Closed(queue) => {
                    return queue.pop_front().map_or(Step::Over, Step::Accepted);
                }
                State::Paused(_) => {
                    let waited = self.changed.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Two processes may be woken for one connection; who comes second must not wait.
    fn accept_on(&self, socket: &S::Listener) -> io::Result<(S, Address)> {
        if self.contested {
            set_nonblocking(socket, true)?;
        }
        S::accept(socket)
    }

    fn take_queue(&self, listener: &S::Listener) -> VecDeque<Connection<S>> {
        let mut queue = VecDeque::new();
        if let Err(error) = set_nonblocking(listener, true) {
            tracing::error!(%error, "what waits for a listener was lost with it");
            return queue;
        }
        while queue.len() < MAX_QUEUE {
            match S::accept(listener) {
                Ok((stream, peer)) => {
                    queue.push_back(Connection::new(stream, peer, self.ledger.open()));
                }
                Err(error) if classify(&error) == Trouble::Connection => {}
                // Empty, or no more can be had: who waits now is refused by the close.
                Err(_) => break,
            }
        }
        queue
    }
}

/// What the drain does to a slot of whatever kind.
trait Gated: Send + Sync + std::fmt::Debug {
    fn pause(&self);
    fn resume(&self);
    fn close(&self);
}

impl<S: Stream> Gated for Slot<S> {
    fn pause(&self) {
        let mut state = lock(&self.state);
        let socket = match &*state {
            State::Fresh(socket) => Arc::clone(socket),
            State::Open(socket) => {
                if self.contested
                    && let Err(error) = set_nonblocking(&**socket, false)
                {
                    tracing::warn!(%error, "a listener does not block for its next owner");
                }
                Arc::clone(socket)
            }
            State::Paused(_) | State::Closed(_) => return,
        };
        *state = State::Paused(socket);
    }

    fn resume(&self) {
        let mut state = lock(&self.state);
        if let State::Paused(socket) = &*state {
            *state = State::Fresh(Arc::clone(socket));
            self.changed.notify_all();
        }
    }

    /// Closes the socket for good, after taking over its queue when nobody else could.
    fn close(&self) {
        let mut state = lock(&self.state);
        let socket = match &*state {
            State::Fresh(socket) | State::Open(socket) | State::Paused(socket) => {
                Arc::clone(socket)
            }
            State::Closed(_) => return,
        };
        let queue = if self.shared.now() {
            VecDeque::new()
        } else {
            self.take_queue(&socket)
        };
        *state = State::Closed(queue);
        self.changed.notify_all();
    }
}

fn set_nonblocking(socket: &impl AsFd, on: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(socket, on)?)
}

/// What a drain has done to all listeners alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    Paused,
    Closed,
}

/// All slots of an instance.
#[derive(Debug)]
pub(super) struct Shelf {
    content: Mutex<(Gate, Vec<Weak<dyn Gated>>)>,
    /// Readable while nobody may accept: what threads that wait for a connection poll besides.
    stopped: Bell,
}

impl Shelf {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            content: Mutex::default(),
            stopped: Bell::new()?,
        })
    }

    /// Readable while nothing is to be accepted or received.
    pub(super) const fn stopped(&self) -> &Bell {
        &self.stopped
    }

    /// Puts a slot under the drain's command; one that comes late is treated like the others.
    pub(super) fn add<S: Stream>(&self, slot: &Arc<Slot<S>>) {
        let mut content = lock(&self.content);
        let (gate, slots) = &mut *content;
        slots.retain(|slot| slot.strong_count() > 0);
        let slot: Arc<dyn Gated> = Arc::clone(slot) as _;
        slots.push(Arc::downgrade(&slot));
        match gate {
            Gate::Open => {}
            Gate::Paused => slot.pause(),
            Gate::Closed => slot.close(),
        }
    }

    fn each(&self, gate: Gate, act: impl Fn(&dyn Gated)) {
        let mut content = lock(&self.content);
        content.0 = gate;
        let slots: Vec<_> = content.1.iter().filter_map(Weak::upgrade).collect();
        drop(content);
        slots.iter().for_each(|slot| act(&**slot));
    }

    /// No listener accepts for now.
    pub(super) fn pause(&self) {
        self.each(Gate::Paused, |slot| slot.pause());
        // After the slots: whoever wakes looks at them once, not again and again.
        self.stopped.ring();
    }

    /// Every listener accepts again.
    pub(super) fn reopen(&self) {
        self.stopped.silence();
        self.each(Gate::Open, |slot| slot.resume());
    }

    /// No listener accepts any more, and none holds its socket.
    pub(super) fn close(&self) {
        self.each(Gate::Closed, |slot| slot.close());
        self.stopped.ring();
    }
}
