//! What a process knows of where it runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use handover_hub_proto::identity::{Epoch, NodeName, ProcessId};
use handover_hub_proto::node::Command;

use super::{Process, Role, Stop};
use crate::hub::{Hub, Shared};

/// What a process knows of where it runs, and how it ends.
pub struct Context {
    shared: Arc<Shared>,
    process: ProcessId,
    epoch: Epoch,
    role: Role,
    pub(crate) wishes: Wishes,
}

/// What a process asked for while it handled a message.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Messages to itself, and when.
    pub(crate) later: Vec<(Duration, Bytes)>,
    /// It ends after this message.
    pub(crate) end: Option<End>,
}

/// How a process ends by its own wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    Failed(Stop),
}

impl Context {
    pub(crate) fn new(shared: Arc<Shared>, process: ProcessId, epoch: Epoch, role: Role) -> Self {
        Self {
            shared,
            process,
            epoch,
            role,
            wishes: Wishes::default(),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &ProcessId {
        &self.process
    }

    /// The fencing number under which it runs here: what it writes elsewhere can carry it, so that
    /// whoever keeps it refuses a lower one.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What it is for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The name of its node.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.shared.node
    }

    /// The hub, to call others; none while this node goes down. A process that keeps it keeps the
    /// hub running.
    #[must_use]
    pub fn hub(&self) -> Option<Hub> {
        self.shared.hub()
    }

    /// Sends itself a message after a while, once this message is handled. It moves with the
    /// process, and waits while the process is moved; it is lost if the process crashes or its node
    /// dies. Nothing is sent that cannot be encoded.
    pub fn send_after<P: Process>(&mut self, delay: Duration, request: &P::Request) {
        if let Ok(request) = postcard::to_allocvec(request) {
            self.wishes.later.push((delay, request.into()));
        }
    }

    /// Ends after this message, as if it had done its work: it is started again if it is
    /// [permanent](handover_hub_proto::spec::Restart::Permanent).
    pub fn finish(&mut self) {
        self.wishes.end = Some(End::Finished);
    }

    /// Ends after this message as if it had crashed; its caller gets the reply.
    pub fn fail(&mut self, stop: Stop) {
        self.wishes.end = Some(End::Failed(stop));
    }

    /// Says that it can be moved, after it [deferred](super::Consent::Defer).
    pub fn ready_to_move(&self) {
        self.shared.command_later(Command::ReadyToMove {
            process: self.process.clone(),
        });
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("process", &self.process)
            .field("epoch", &self.epoch)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
