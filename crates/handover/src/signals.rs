//! SIGTERM and SIGINT as a request to drain.

use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both signals, listened to.
pub(crate) type Streams = [Signal; 2];

/// Begins to listen: from here on neither ends the process. Call inside the runtime.
pub(crate) fn install() -> io::Result<Streams> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    Ok([terminate, interrupt])
}

/// The two signals, once somebody waits for the drain they begin. Before that the kernel's default
/// stands: a program that does not look at its drain can still be stopped.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    installed: Option<Streams>,
}

impl Signals {
    /// Begins to look at these; does nothing if it looks at some already.
    pub(crate) fn watch(&mut self, streams: Streams) {
        self.installed.get_or_insert(streams);
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
