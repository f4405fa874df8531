//! What all handles of an instance share.

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::bell::Bell;
use super::driver::Command;
use super::park;
use super::signals::{Arrived, Signals, signals};
use super::slot::Shelf;
use crate::ledger::Ledger;
use crate::pool::Pool;
use crate::stage::{Standing, wait};

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
        self.0.order(Command::Abandoned);
    }
}

/// The state behind an instance, its listeners and its driver.
#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) shelf: Shelf,
    pub(super) pool: Mutex<Pool>,
    signals: Signals,
    commands: Sender<Command>,
    /// Wakes the driver.
    pub(super) bell: Arc<Bell>,
}

/// What belongs to the driver.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) state: Arc<State>,
    pub(super) orders: Receiver<Command>,
    pub(super) arrived: Arrived,
}

impl Core {
    /// The state, and the ends that belong to the driver. `watches`: whether signals begin a drain.
    ///
    /// # Errors
    /// No descriptors are to be had.
    pub(super) fn new(name: String, pool: Pool, watches: bool) -> io::Result<(Arc<Self>, Ends)> {
        let (signals, arrived) = signals(watches)?;
        let (commands, orders) = mpsc::channel();
        let state = Arc::new(State {
            name,
            standing: watch::Sender::default(),
            ledger: Arc::default(),
            shelf: Shelf::new()?,
            pool: Mutex::new(pool),
            signals,
            commands,
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
    /// Changes the standing and wakes those who wait for it.
    pub(super) fn stand(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_modify(change);
    }

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
        wait(self.standing.subscribe(), reached)
    }

    /// From here on SIGTERM and SIGINT begin the drain, if the builder wants it.
    pub(super) fn watch_signals(&self) {
        self.signals.watch();
    }

    /// Asks the driver for something.
    pub(super) fn order(&self, command: Command) {
        // The driver ends only when nobody is left to ask.
        let _ = self.commands.send(command);
        self.bell.ring();
    }
}
