//! SIGTERM and SIGINT as a request to drain.

use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals, once somebody waits for the drain they begin. Before that the kernel's default
/// stands: a program that does not look at its drain can still be stopped.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    installed: Option<[Signal; 2]>,
}

impl Signals {
    /// Begins to listen; does nothing if it listens already.
    pub(crate) fn install(&mut self) -> io::Result<()> {
        if self.installed.is_none() {
            let terminate = signal(SignalKind::terminate())?;
            let interrupt = signal(SignalKind::interrupt())?;
            self.installed = Some([terminate, interrupt]);
        }
        Ok(())
    }

    /// The next signal. Cancel safe; never resolves when nothing is installed.
    pub(crate) async fn next(&mut self) {
        let Some(signals) = &mut self.installed else {
            return pending().await;
        };
        poll_fn(|context| {
            let arrived = signals
                .iter_mut()
                .any(|signal| matches!(signal.poll_recv(context), Poll::Ready(Some(()))));
            if arrived {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
