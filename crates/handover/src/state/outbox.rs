//! What a hook has written and the channel has not sent yet.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use handover_proto::state::Frame;

use super::StateError;
use crate::ledger::lock;

/// A frame, and the descriptor that goes with its first byte.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) frame: Frame,
    pub(crate) descriptor: Option<OwnedFd>,
}

#[derive(Debug, Default)]
struct Content {
    waiting: VecDeque<Outgoing>,
    /// Why nothing more is taken.
    closed: Option<String>,
}

/// A queue between a hook, which never waits for it, and the channel.
pub(crate) struct Outbox {
    content: Mutex<Content>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Outbox").field(&self.content).finish()
    }
}

impl Outbox {
    /// `wake` is called after each push.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            content: Mutex::default(),
            wake: Box::new(wake),
        }
    }

    pub(crate) fn push(&self, outgoing: Outgoing) -> Result<(), StateError> {
        let mut content = lock(&self.content);
        if let Some(reason) = &content.closed {
            let reason = reason.clone();
            return Err(StateError::Channel { reason });
        }
        content.waiting.push_back(outgoing);
        drop(content);
        (self.wake)();
        Ok(())
    }

    pub(crate) fn pop(&self) -> Option<Outgoing> {
        lock(&self.content).waiting.pop_front()
    }

    /// Frames that wait.
    pub(crate) fn backlog(&self) -> usize {
        lock(&self.content).waiting.len()
    }

    /// Drops what waits; whoever pushes from now on learns why.
    pub(crate) fn close(&self, reason: &str) {
        let mut content = lock(&self.content);
        content.closed.get_or_insert_with(|| reason.to_owned());
        let dropped = std::mem::take(&mut content.waiting);
        drop(content);
        drop(dropped);
    }
}
