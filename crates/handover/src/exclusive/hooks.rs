//! The task that owns a service and runs its hooks, one at a time.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::mpsc;

use super::call::{Call, Caller, Hook, Report, describe};
use crate::service::{Service, ServiceError};

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Hooks(mpsc::UnboundedSender<(u64, Call)>);

impl Hooks {
    /// Puts the service on a task of the runtime.
    pub(crate) fn spawn(
        service: impl Service,
        runtime: &tokio::runtime::Handle,
        tell: impl Fn(Report) + Send + 'static,
    ) -> Self {
        let (calls, orders) = mpsc::unbounded_channel();
        runtime.spawn(serve(service, orders, tell));
        Self(calls)
    }
}

impl Caller for Hooks {
    fn call(&self, serial: u64, call: Call) {
        // A task that has ended, since dropping the service panicked, has said so.
        let _ = self.0.send((serial, call));
    }
}

/// Says so when the service is gone, however it goes.
pub(crate) struct Goodbye<F: Fn(Report)>(pub(crate) F);

impl<F: Fn(Report)> Drop for Goodbye<F> {
    fn drop(&mut self) {
        (self.0)(Report::Dropped);
    }
}

async fn serve<S: Service>(
    service: S,
    mut calls: mpsc::UnboundedReceiver<(u64, Call)>,
    tell: impl Fn(Report) + Send + 'static,
) {
    let goodbye = Goodbye(tell);
    // Dropped before the goodbye.
    let mut service = service;
    let mut next = calls.recv().await;
    while let Some((serial, call)) = next {
        let cancellable = call.hook() != Some(Hook::Seal);
        let outcome = {
            let mut hook = pin!(caught(run(&mut service, call)));
            tokio::select! {
                biased;
                newer = calls.recv(), if cancellable => Err(newer),
                result = &mut hook => Ok(result),
            }
        };
        next = match outcome {
            Ok(result) => {
                (goodbye.0)(Report::Done { serial, result });
                calls.recv().await
            }
            Err(newer) => newer,
        };
    }
}

async fn run<S: Service>(service: &mut S, call: Call) -> Result<(), ServiceError> {
    match call {
        Call::Base(mut state) => {
            service.base(&mut state).await?;
            Ok(state.finish()?)
        }
        Call::Warm(base) => service.warm(base).await,
        Call::Activate(lease, state) => service.activate(lease, state).await,
        Call::Drain(within) => service.drain(within).await,
        Call::Seal(mut state) => {
            service.seal(&mut state).await?;
            Ok(state.finish()?)
        }
        Call::Resume(lease) => service.resume(lease).await,
        Call::Rest => Ok(()),
    }
}

/// The future's result, a panic being an error too.
async fn caught(
    future: impl Future<Output = Result<(), ServiceError>>,
) -> Result<(), ServiceError> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // What a hook leaves behind when it panics is the program's own, and documented so.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(describe(&*panic).into())))
    })
    .await
}
