//! The thread that owns a service and runs its hooks, one at a time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;

use super::service::Service;
use crate::exclusive::call::{Call, Caller, Hook, Report, describe};
use crate::exclusive::hooks::Goodbye;
use crate::service::ServiceError;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Hooks(Sender<(u64, Call)>);

impl Hooks {
    /// Puts the service on a thread.
    ///
    /// # Errors
    /// No thread is to be had; the service is dropped.
    pub(super) fn spawn(
        service: impl Service,
        tell: impl Fn(Report) + Send + 'static,
    ) -> io::Result<Self> {
        let (calls, orders) = mpsc::channel();
        let thread = thread::Builder::new().name("handover-hooks".into());
        thread.spawn(move || serve(service, &orders, tell))?;
        Ok(Self(calls))
    }
}

impl Caller for Hooks {
    fn call(&self, serial: u64, call: Call) {
        // A thread that has ended, since dropping the service panicked, has said so.
        let _ = self.0.send((serial, call));
    }
}

fn serve<S: Service>(
    service: S,
    calls: &Receiver<(u64, Call)>,
    tell: impl Fn(Report) + Send + 'static,
) {
    let goodbye = Goodbye(tell);
    // Dropped before the goodbye.
    let mut service = service;
    while let Ok(mut next) = calls.recv() {
        // What was replaced before it began need not be run; a seal is never left out.
        while next.1.hook() != Some(Hook::Seal) {
            match calls.try_recv() {
                Ok(newer) => next = newer,
                Err(TryRecvError::Empty) => break,
                // Nobody wants it any more.
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let (serial, call) = next;
        // What a hook leaves behind when it panics is the program's own, and documented so.
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut service, call)));
        let result = result.unwrap_or_else(|panic| Err(describe(&*panic).into()));
        (goodbye.0)(Report::Done { serial, result });
    }
}

fn run(service: &mut impl Service, call: Call) -> Result<(), ServiceError> {
    match call {
        Call::Base(mut state) => {
            service.base(&mut state)?;
            Ok(state.finish()?)
        }
        Call::Warm(base) => service.warm(base),
        Call::Activate(lease, state) => service.activate(lease, state),
        Call::Drain(within) => service.drain(within),
        Call::Seal(mut state) => {
            service.seal(&mut state)?;
            Ok(state.finish()?)
        }
        Call::Resume(lease) => service.resume(lease),
        Call::Rest => Ok(()),
    }
}
