//! The driver of tasks: brings events and time to the [`Conduct`] of an instance, one at a time.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use handover_proto::message::FromInstance;
use handover_proto::settings::Ladder;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use crate::conduct::{COUNT_EVERY, Command, Conduct, Surroundings};
use crate::conversation::{Conversation, Counterpart};
use crate::core::Core;
use crate::lease::Gate;
use crate::link::LinkEvent;
use crate::notice::Notice;
use crate::signals::{Signals, Streams};

/// What handles ask the driver for.
pub(crate) enum Order {
    Obey(Command),
    WatchSignals(Streams),
}

enum Event {
    Order(Option<Order>),
    Link(LinkEvent),
    Signal,
    Emptied,
    /// The last permit to write is gone.
    Unwritten,
    Deadline,
    Count,
}

/// Where effects happen.
struct Tasks {
    core: Arc<Core>,
    link: Conversation,
}

impl Surroundings for Tasks {
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
        self.core.shelf.pause();
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.core.shelf.reopen()
    }

    fn close(&mut self) {
        self.core.shelf.close();
    }

    fn cut(&mut self) {
        self.core.ledger.cut();
    }
}

/// The task behind an instance.
pub(crate) struct Driver {
    core: Arc<Core>,
    conduct: Conduct<Tasks>,
    signals: Signals,
    orders: Option<mpsc::UnboundedReceiver<Order>>,
    count: Interval,
}

impl Driver {
    /// Call inside the runtime.
    ///
    /// # Errors
    /// An inherited channel is not a usable socket.
    pub(crate) fn new(
        core: Arc<Core>,
        counterpart: Counterpart,
        notice: Notice,
        ladder: Option<Ladder>,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> io::Result<Self> {
        let (placement, instance) = (counterpart.placement(), counterpart.instance());
        let tasks = Tasks {
            core: Arc::clone(&core),
            link: counterpart.converse()?,
        };
        let mut count = interval(COUNT_EVERY);
        count.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&core);
        Ok(Self {
            core,
            conduct: Conduct::new(shared, tasks, placement, instance, notice, ladder),
            signals: Signals::default(),
            orders: Some(orders),
            count,
        })
    }

    /// Runs until the runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            self.conduct.settle();
            let event = self.next().await;
            self.take(event);
        }
    }

    async fn next(&mut self) -> Event {
        let deadline = self.conduct.next_deadline().map(Instant::from_std);
        let writers = self.conduct.waits_for_writers();
        let counts = self.conduct.counts();
        let link = &mut self.conduct.surroundings.link;
        let linked = link.is_open();
        tokio::select! {
            () = self.signals.next() => Event::Signal,
            event = link.event() => Event::Link(event),
            order = next_order(&mut self.orders) => Event::Order(order),
            () = unwritten(writers.as_deref()) => Event::Unwritten,
            () = self.core.ledger.emptied(), if counts => Event::Emptied,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                Event::Deadline
            }
            _ = self.count.tick(), if linked => Event::Count,
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Order(None) => self.orders = None,
            Event::Order(Some(Order::Obey(command))) => self.conduct.obey(command),
            Event::Order(Some(Order::WatchSignals(streams))) => self.signals.watch(streams),
            Event::Link(event) => self.conduct.hear(event),
            Event::Signal => self.conduct.leave(None),
            Event::Count => self.conduct.tell_count(),
            // `settle` looks at the counts and the time anyway.
            Event::Emptied | Event::Unwritten => {}
            Event::Deadline => drop(self.conduct.tick()),
        }
    }
}

impl Drop for Driver {
    /// The runtime ends.
    fn drop(&mut self) {
        self.conduct.farewell();
    }
}

async fn unwritten(gate: Option<&Gate>) {
    match gate {
        Some(gate) => gate.emptied().await,
        None => std::future::pending().await,
    }
}

async fn next_order(orders: &mut Option<mpsc::UnboundedReceiver<Order>>) -> Option<Order> {
    match orders {
        Some(orders) => orders.recv().await,
        None => std::future::pending().await,
    }
}
