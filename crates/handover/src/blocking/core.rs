//! What all handles of an instance share.

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use super::driver::Order;
use super::park;
use super::signals::{Arrived, Signals, signals};
use super::slot::Shelf;
use crate::bell::Bell;
use crate::conduct::Command;
use crate::pool::Pool;
use crate::stage::{Standing, wait};
use crate::takeover::Host;

/// What handles, listeners and guards hold: dropping the last tells the driver that nobody is left.
#[derive(Debug)]
pub(super) struct Core(Arc<State>);

impl Deref for Core {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.0.tell(Order::Abandoned);
    }
}

impl Deref for State {
    type Target = crate::core::Core;

    fn deref(&self) -> &crate::core::Core {
        &self.core
    }
}

/// The state behind an instance, its listeners and its driver.
#[derive(Debug)]
pub(super) struct State {
    /// What it shares with an instance of tasks, whose listeners it does not use.
    pub(super) core: Arc<crate::core::Core>,
    pub(super) shelf: Shelf,
    signals: Signals,
    orders: Sender<Order>,
    /// Wakes the driver.
    pub(super) bell: Arc<Bell>,
}

/// What belongs to the driver.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) state: Arc<State>,
    pub(super) orders: Receiver<Order>,
    pub(super) arrived: Arrived,
}

impl Core {
    /// The state, and the ends that belong to the driver. `watches`: whether signals begin a drain.
    ///
    /// # Errors
    /// No descriptors are to be had.
    pub(super) fn new(
        name: String,
        pool: Pool,
        watches: bool,
        host: Option<Arc<Host>>,
    ) -> io::Result<(Arc<Self>, Ends)> {
        let (signals, arrived) = signals(watches)?;
        let (tell, orders) = mpsc::channel();
        let state = Arc::new(State {
            core: crate::core::Core::new(name, pool, host),
            shelf: Shelf::new()?,
            signals,
            orders: tell,
            bell: Arc::new(Bell::new()?),
        });
        let core = Arc::new(Self(Arc::clone(&state)));
        let ends = Ends {
            state,
            orders,
            arrived,
        };
        Ok((core, ends))
    }

    /// The state, for a thread that must not keep the instance alive.
    pub(super) fn state(&self) -> Arc<State> {
        Arc::clone(&self.0)
    }
}

impl State {
    /// Waits until the standing is as wanted; `None` if that takes longer than `within`.
    pub(super) fn wait(
        &self,
        within: Option<Duration>,
        reached: impl Fn(&Standing) -> bool + Send + Sync + 'static,
    ) -> Option<Standing> {
        park::wait(self.until(reached), within)
    }

    fn until(
        &self,
        reached: impl Fn(&Standing) -> bool + Send + Sync + 'static,
    ) -> impl Future<Output = Standing> {
        wait(self.core.standing.subscribe(), reached)
    }

    /// From here on SIGTERM and SIGINT begin the drain, if the builder wants it.
    pub(super) fn watch_signals(&self) {
        self.signals.watch();
    }

    /// Asks the driver for something.
    pub(super) fn order(&self, command: Command) {
        self.tell(Order::Obey(command));
    }

    fn tell(&self, order: Order) {
        // The driver ends only when nobody is left to ask.
        let _ = self.orders.send(order);
        self.bell.ring();
    }
}
