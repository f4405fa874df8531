//! What the platform and people want of the container.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signalled {
    /// SIGTERM, SIGQUIT: complete what is under way, drain, end.
    Stop,
    /// SIGINT: the same without drain.
    FastStop,
    /// A child has ended.
    ChildEnded,
}

/// The signals of a container. From here on no other one ends it either: what a supervisor
/// understands is for whenever one runs.
pub(super) struct Signals {
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    child: Signal,
    _of_supervisors: [Signal; 3],
}

impl Signals {
    pub(super) fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            child: signal(SignalKind::child())?,
            _of_supervisors: [
                signal(SignalKind::hangup())?,
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
        })
    }

    /// The next signal. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signalled {
        tokio::select! {
            _ = self.terminate.recv() => Signalled::Stop,
            _ = self.quit.recv() => Signalled::Stop,
            _ = self.interrupt.recv() => Signalled::FastStop,
            _ = self.child.recv() => Signalled::ChildEnded,
        }
    }
}
