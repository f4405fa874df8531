//! A thread that talks to the service manager: in order, and never in the loop's way.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::notice::Notice;

/// How long the end waits until the service manager has read everything: what it reads of a process
/// that is gone it may not put down to the service.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What there is to do.
enum Errand {
    Say(String),
    Store { name: String, descriptor: OwnedFd },
    Unstore { name: String },
}

/// The loop's end of it. Without a notify socket there is no thread, and nothing is done.
#[derive(Default)]
pub(super) struct Herald {
    errands: Option<Sender<Errand>>,
    thread: Option<JoinHandle<()>>,
}

impl Herald {
    pub(super) fn start(socket: Option<OsString>) -> Self {
        let Some(socket) = socket else {
            return Self::default();
        };
        let (errands, waiting) = channel();
        let notice = Notice::new(Some(socket));
        let thread = std::thread::Builder::new()
            .name("notify".into())
            .spawn(move || run(&notice, &waiting));
        match thread {
            Ok(thread) => Self {
                errands: Some(errands),
                thread: Some(thread),
            },
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET is not told anything");
                Self::default()
            }
        }
    }

    /// Whether anybody is told.
    pub(super) const fn is_heard(&self) -> bool {
        self.errands.is_some()
    }

    pub(super) fn say(&self, text: String) {
        self.send(Errand::Say(text));
    }

    pub(super) fn store(&self, name: &str, descriptor: OwnedFd) {
        let name = name.to_owned();
        self.send(Errand::Store { name, descriptor });
    }

    pub(super) fn unstore(&self, name: &str) {
        let name = name.to_owned();
        self.send(Errand::Unstore { name });
    }

    fn send(&self, errand: Errand) {
        if let Some(errands) = &self.errands {
            // It lives for as long as this end does.
            let _ = errands.send(errand);
        }
    }

    /// Waits until all is said; for up to a few seconds, when the service manager is stuck.
    pub(super) fn end(&mut self) {
        self.errands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(notice: &Notice, waiting: &Receiver<Errand>) {
    let mut silent = false;
    for errand in waiting {
        let done = match &errand {
            Errand::Say(text) => notice.insist(text),
            Errand::Store { name, descriptor } => notice.store(name, descriptor.as_fd()),
            Errand::Unstore { name } => notice.unstore(name),
        };
        // Once: one that is stuck or gone would fill the log.
        if let (Err(error), false) = (&done, silent) {
            tracing::warn!(%error, "NOTIFY_SOCKET could not be told");
        }
        silent = done.is_err();
    }
    // Whoever does not know of barriers has read it or not; there is nothing more to be done.
    let _ = notice.settle(LAST_WORDS);
}
