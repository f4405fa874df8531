//! The driver of threads: brings events and time to the [`Conduct`] of an instance, one at a time.
//! Its only wait is poll(2).

use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use handover_proto::message::FromInstance;
use handover_proto::settings::Ladder;

use super::conversation::Conversation;
use super::core::{Ends, State};
use super::signals::Arrived;
use crate::bell::{poll, readable};
use crate::conduct::{COUNT_EVERY, Command, Conduct, Surroundings};
use crate::conversation::Counterpart;
use crate::notice::Notice;

/// A pause after poll(2) has failed for lack of memory, so as not to make things worse.
const SHORT_OF_MEMORY: Duration = Duration::from_millis(100);

/// When a cut becomes rough: threads that use our reads and writes have found out by then, and
/// enough of [`SETTLE`](crate::drain::SETTLE) is left for the others.
const ROUGH_AFTER: Duration = Duration::from_millis(100);

/// What handles ask the driver for.
pub(super) enum Order {
    Obey(Command),
    /// No handle, listener or guard is left.
    Abandoned,
}

/// A future that rings the driver's bell when something has happened that has no descriptor.
type Ringing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a driver is made of.
pub(super) struct Parts {
    pub(super) ends: Ends,
    pub(super) counterpart: Counterpart,
    pub(super) notice: Notice,
    pub(super) ladder: Option<Ladder>,
}

/// Where effects happen.
struct Threads {
    state: Arc<State>,
    link: Conversation,
    /// When to cut what a first cut has left.
    second_cut: Option<Instant>,
}

impl Surroundings for Threads {
    fn send(&mut self, message: &FromInstance) {
        self.link.send(message);
    }

    fn seek(&mut self) {
        self.link.seek();
    }

    fn attach(&mut self, channel: UnixStream) -> io::Result<()> {
        self.link.attach(channel)
    }

    fn is_beyond(&self) -> bool {
        self.link.is_beyond()
    }

    fn pause(&mut self) {
        self.state.shelf.pause();
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.state.shelf.reopen();
        Ok(())
    }

    fn close(&mut self) {
        self.state.shelf.close();
    }

    fn cut(&mut self) {
        self.state.core.ledger.cut();
        self.second_cut = Some(Instant::now() + ROUGH_AFTER);
    }
}

/// The thread behind an instance.
pub(super) struct Driver {
    state: Arc<State>,
    conduct: Conduct<Threads>,
    arrived: Arrived,
    orders: Receiver<Order>,
    /// Rings the bell when the last connection of a drain has ended.
    emptied: Ringing,
    /// Rings it when the last permit to write is gone, while that is waited for.
    unwritten: Option<Ringing>,
    count_at: Instant,
    abandoned: bool,
}

impl Driver {
    /// # Errors
    /// The inherited channel is not a usable socket.
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let Ends {
            state,
            orders,
            arrived,
        } = parts.ends;
        let (placement, instance) = (parts.counterpart.placement(), parts.counterpart.instance());
        let threads = Threads {
            state: Arc::clone(&state),
            link: Conversation::with(parts.counterpart)?,
            second_cut: None,
        };
        let (core, notice) = (Arc::clone(&state.core), parts.notice);
        let conduct = Conduct::new(core, threads, placement, instance, notice, parts.ladder);
        let (ledger, bell) = (Arc::clone(&state.core.ledger), Arc::clone(&state.bell));
        Ok(Self {
            state,
            conduct,
            arrived,
            orders,
            emptied: Box::pin(async move {
                loop {
                    ledger.emptied().await;
                    bell.ring();
                }
            }),
            unwritten: None,
            count_at: Instant::now(),
            abandoned: false,
        })
    }

    /// Runs until nobody is left who could notice.
    pub(super) fn run(mut self) {
        loop {
            self.conduct.settle();
            // One at a time: what one event leads to comes before the next.
            if !self.take_one() {
                if self.abandoned && self.conduct.is_dispensable() {
                    return;
                }
                self.wait();
            }
        }
    }

    /// Takes the next thing that has happened, if any.
    fn take_one(&mut self) -> bool {
        if let Some(event) = self.conduct.surroundings.link.event() {
            self.conduct.hear(event);
        } else if let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Obey(command) => self.conduct.obey(command),
                Order::Abandoned => self.abandoned = true,
            }
        } else {
            return self.take_signals() | self.take_time();
        }
        true
    }

    fn take_signals(&mut self) -> bool {
        let arrived = self.arrived.count();
        for _ in 0..arrived {
            self.conduct.leave(None);
            // A second signal of the same moment finds the drain begun.
            self.conduct.settle();
        }
        arrived > 0
    }

    fn take_time(&mut self) -> bool {
        let now = Instant::now();
        let threads = &mut self.conduct.surroundings;
        if threads.second_cut.take_if(|at| *at <= now).is_some() {
            threads.state.core.ledger.cut();
        }
        if threads.link.is_open() && self.count_at <= now {
            self.count_at = now + COUNT_EVERY;
            self.conduct.tell_count();
        }
        self.conduct.tick()
    }

    fn wait(&mut self) {
        self.listen_without_descriptors();
        let threads = &self.conduct.surroundings;
        let count = threads.link.is_open().then_some(self.count_at);
        let deadlines = [
            self.conduct.next_deadline(),
            count,
            threads.link.deadline(),
            threads.second_cut,
        ];
        let until = deadlines.into_iter().flatten().min();
        let mut fds = vec![readable(&*self.state.bell), readable(&self.arrived)];
        fds.extend(threads.link.interest());
        if let Err(error) = poll(&mut fds, until) {
            tracing::error!(%error, "poll(2) failed");
            std::thread::sleep(SHORT_OF_MEMORY);
        }
        drop(fds);
        self.state.bell.silence();
        self.conduct.surroundings.link.write();
    }

    /// Asks to be woken by what has no descriptor. Whatever has happened since `settle` looked
    /// rings the bell now, before the wait.
    fn listen_without_descriptors(&mut self) {
        let waker = Waker::from(Arc::clone(&self.state.bell));
        let context = &mut Context::from_waker(&waker);
        let _ = self.emptied.as_mut().poll(context);
        let Some(gate) = self.conduct.waits_for_writers() else {
            self.unwritten = None;
            return;
        };
        let bell = Arc::clone(&self.state.bell);
        let unwritten = self.unwritten.get_or_insert_with(|| {
            Box::pin(async move {
                gate.emptied().await;
                bell.ring();
            })
        });
        if unwritten.as_mut().poll(context).is_ready() {
            self.unwritten = None;
        }
    }
}
