//! Code of the user that is called when something happens on a node.
//!
//! Which hook is called when, on which node and with what: [`handover_hub_proto::hook`].
//!
//! All handlers of a node but those that [alter](Alter) are called by one thread of its own, one after
//! the other, in the order in which things happened. A slow one holds up those after it and never the
//! node, which waits for the hooks named `Before…` and for `Shutdown`, but no longer than
//! [`Builder::hook_patience`](crate::Builder::hook_patience); while a handler is overdue it waits for
//! none. A panic is caught, and nothing else changes. Both are told as
//! [`Event::HookFailed`]. At most 65,536 calls wait; what is more is left out, and that is told, too.
//!
//! The thread has entered the runtime of the hub: a handler may spawn tasks, and block on what a hub
//! offers.

mod calling;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use handover_hub_proto::event::Event;
use handover_hub_proto::hook::{Handler, HandlerTwice, Hook};
use handover_hub_proto::identity::{Epoch, MoveId, NodeId, ProcessId};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::ChildSpec;
use handover_hub_proto::view::{Departure, Member};
use tokio::sync::{broadcast, mpsc, oneshot};

use self::calling::{Calling, Waiting};

/// How long a node waits for handlers, unless set.
const PATIENCE: Duration = Duration::from_secs(1);

/// Calls that may wait.
const WAITING: usize = 65_536;

/// What a handler is called for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Occasion {
    /// Something happened, as [`Hub::events`](crate::Hub::events) tells it.
    Event(Event),
    /// This member is about to be taken in.
    Joining(Member),
    /// This member is gone.
    Leaving {
        /// Which.
        node: NodeId,
        /// Why.
        cause: Departure,
    },
    /// A child is about to be started.
    Child(Arc<ChildSpec>),
    /// A child was started on this node, or not.
    Start {
        /// Which.
        child: Arc<ChildSpec>,
        /// Under which epoch.
        epoch: Epoch,
        /// Why it does not run, if it does not.
        failed: Option<String>,
    },
    /// A process left this node.
    Moved {
        /// Which.
        process: ProcessId,
        /// Which move.
        attempt: MoveId,
        /// Where it runs now.
        to: NodeId,
        /// Under which epoch.
        epoch: Epoch,
    },
    /// A process on this node has taken a state that arrived.
    HandedOver {
        /// Which.
        process: ProcessId,
        /// The move it came with.
        attempt: MoveId,
        /// Under which epoch the process runs.
        epoch: Epoch,
        /// It ran here before, and took in the state of another copy.
        merged: bool,
    },
    /// A replica on this node is about to have another role.
    Role {
        /// Which.
        process: ProcessId,
        /// The role it will have.
        role: Role,
    },
    /// There is nothing more to say.
    Plain,
}

/// What is called.
pub type Call = Arc<dyn Fn(Hook, &Occasion) + Send + Sync>;

/// Changes what a child is before it is placed: everything but its id. It is called where the start
/// was asked for, once; every node starts what it made of the child, also later. It runs in the start
/// that it belongs to, beside others, and only that start waits for it.
pub type Alter = Arc<dyn Fn(&mut ChildSpec) + Send + Sync>;

/// A handler as it was given.
#[derive(Clone)]
pub(crate) enum Code {
    Call(Call),
    Alter(Alter),
}

/// The handlers of a node.
pub(crate) struct Handlers {
    calling: Arc<Calling>,
    /// To the thread that calls them, once there was something to call.
    queue: OnceLock<Option<mpsc::Sender<Waiting>>>,
    patience: Duration,
    /// Calls are being left out.
    full: AtomicBool,
    /// It was said that the node leaves.
    leaving: AtomicBool,
}

impl Default for Handlers {
    fn default() -> Self {
        Self {
            calling: Arc::default(),
            queue: OnceLock::new(),
            patience: PATIENCE,
            full: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
        }
    }
}

/// Open when the handlers that were to be called have returned.
pub(crate) struct Gate {
    hook: Hook,
    called: oneshot::Receiver<()>,
    calling: Arc<Calling>,
    patience: Duration,
}

impl Gate {
    /// Waits until the handlers have returned, or for as long as the node has patience.
    pub(crate) async fn wait(self) {
        if self.calling.is_overdue() {
            return;
        }
        if tokio::time::timeout(self.patience, self.called)
            .await
            .is_err()
        {
            self.calling.overdue(self.hook, self.patience);
        }
    }
}

impl Handlers {
    pub(crate) fn add(&self, hook: Hook, handler: Handler<Code>) -> Result<(), HandlerTwice> {
        self.calling.hooks().add(hook, handler)
    }

    pub(crate) fn remove(&self, hook: Hook, id: &str) -> bool {
        self.calling.hooks().remove(hook, id).is_some()
    }

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Where failures are told, and all other events of the node.
    pub(crate) fn events(&self) -> broadcast::Sender<Event> {
        self.calling.events()
    }

    pub(crate) fn has(&self, hook: Hook) -> bool {
        self.calling.hooks().of(hook).next().is_some()
    }

    /// Has the handlers of a hook called, the highest priority first, after all that were to be called
    /// before.
    pub(crate) fn tell(&self, hook: Hook, occasion: impl FnOnce() -> Occasion) {
        if self.has(hook) {
            self.enqueue(Waiting {
                what: Some((hook, occasion())),
                called: None,
            });
        }
    }

    /// Like [`tell`](Self::tell); the gate opens when they have returned. None if there is nothing to
    /// wait for.
    pub(crate) fn ask(&self, hook: Hook, occasion: impl FnOnce() -> Occasion) -> Option<Gate> {
        if !self.has(hook) {
            return None;
        }
        let (done, called) = oneshot::channel();
        self.enqueue(Waiting {
            what: Some((hook, occasion())),
            called: Some(done),
        });
        Some(Gate {
            hook,
            called,
            calling: Arc::clone(&self.calling),
            patience: self.patience,
        })
    }

    /// Like [`ask`](Self::ask), and waits.
    pub(crate) async fn wait(&self, hook: Hook, occasion: impl FnOnce() -> Occasion) {
        if let Some(gate) = self.ask(hook, occasion) {
            gate.wait().await;
        }
    }

    /// Calls those that an event is for.
    pub(crate) fn event(&self, event: &Event) {
        let hook = match event {
            Event::Registered { .. } => Hook::Registered,
            Event::Unregistered { .. } => Hook::Unregistered,
            Event::Deferred { .. } => Hook::Deferred,
            Event::Forwarded { .. } => Hook::Forwarded,
            Event::Emptied { .. } => Hook::Emptied,
            Event::Crashed {
                restarted: true, ..
            } => Hook::Restarted,
            Event::Suspended { .. } | Event::Continued => Hook::Suspension,
            Event::Settled => Hook::AfterRedistribution,
            Event::Scored { .. } => Hook::Scores,
            _ => return,
        };
        self.tell(hook, || Occasion::Event(event.clone()));
    }

    /// The node is about to leave: its handlers are called once.
    pub(crate) async fn leaving(&self) {
        if !self.leaving.swap(true, Ordering::AcqRel) {
            self.wait(Hook::Shutdown, || Occasion::Plain).await;
        }
    }

    /// It stays after all.
    pub(crate) fn stays(&self) {
        self.leaving.store(false, Ordering::Release);
    }

    /// Waits until all that was to be called has returned, or for as long as the node has patience.
    pub(crate) async fn finish(&self) {
        let Some(Some(_)) = self.queue.get() else {
            return;
        };
        let (done, called) = oneshot::channel();
        self.enqueue(Waiting {
            what: None,
            called: Some(done),
        });
        let _ = tokio::time::timeout(self.patience, called).await;
    }

    /// What children are after all that alter them.
    pub(crate) async fn alter(&self, children: Vec<Arc<ChildSpec>>) -> Vec<Arc<ChildSpec>> {
        if !self.has(Hook::AlterSpec) {
            return children;
        }
        let calling = Arc::clone(&self.calling);
        let unaltered = children.clone();
        let alter = move || {
            let all = children.into_iter();
            all.map(|child| calling.alter(child)).collect()
        };
        tokio::task::spawn_blocking(alter)
            .await
            .unwrap_or(unaltered)
    }

    fn enqueue(&self, waiting: Waiting) {
        let queue = self
            .queue
            .get_or_init(|| calling::begin(Arc::clone(&self.calling), WAITING));
        let Some(queue) = queue else {
            return;
        };
        let hook = waiting.what.as_ref().map(|(hook, _)| *hook);
        let sent = queue.try_send(waiting).is_ok();
        let was_full = self.full.swap(!sent, Ordering::Relaxed);
        if let Some(hook) = hook.filter(|_| !sent && !was_full) {
            let reason = format!("{WAITING} calls wait for slow handlers; more are left out");
            self.calling.failed(hook, None, reason);
        }
    }
}

#[cfg(test)]
mod tests;
