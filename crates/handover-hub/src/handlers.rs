//! Code of the user that is called when something happens on a node.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use handover_hub_proto::event::Event;
use handover_hub_proto::hook::{Handler, HandlerTwice, Hook, Hooks};
use handover_hub_proto::spec::ChildSpec;

use crate::kind::guard;

/// What a handler is called for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Occasion<'a> {
    /// Something happened.
    Event(&'a Event),
    /// A child is about to be started on this node, or has been.
    Child(&'a ChildSpec),
    /// There is nothing more to say.
    Plain,
}

/// What is called. It runs on the node's own tasks: what takes long, it must hand to another one.
pub type Call = Arc<dyn Fn(Hook, &Occasion<'_>) + Send + Sync>;

/// The handlers of a node.
#[derive(Default)]
pub(crate) struct Handlers {
    hooks: Mutex<Hooks<Call>>,
}

impl Handlers {
    pub(crate) fn add(&self, hook: Hook, handler: Handler<Call>) -> Result<(), HandlerTwice> {
        self.lock().add(hook, handler)
    }

    pub(crate) fn remove(&self, hook: Hook, id: &str) -> bool {
        self.lock().remove(hook, id).is_some()
    }

    /// Calls those of a hook, the highest priority first. One that panics is logged.
    pub(crate) fn call(&self, hook: Hook, occasion: &Occasion<'_>) {
        let calls: Vec<_> = {
            let hooks = self.lock();
            let handlers = hooks.of(hook);
            handlers
                .map(|handler| (handler.id.clone(), Arc::clone(&handler.call)))
                .collect()
        };
        for (id, call) in calls {
            if let Err(fault) = guard(|| call(hook, occasion)) {
                tracing::warn!(%hook, %id, %fault, "a handler failed");
            }
        }
    }

    /// Calls those that an event is for.
    pub(crate) fn event(&self, event: &Event) {
        let hook = match event {
            Event::Joined { .. } => Hook::AfterJoin,
            Event::Gone { .. } => Hook::AfterLeave,
            Event::Registered { .. } => Hook::Registered,
            Event::Unregistered { .. } => Hook::Unregistered,
            Event::Moved { .. } => Hook::Moved,
            Event::Deferred { .. } => Hook::Deferred,
            Event::Crashed {
                restarted: true, ..
            } => Hook::Restarted,
            Event::Suspended { .. } | Event::Continued => Hook::Suspension,
            Event::Redistributing => Hook::BeforeRedistribution,
            Event::Settled => Hook::AfterRedistribution,
            _ => return,
        };
        self.call(hook, &Occasion::Event(event));
    }

    fn lock(&self) -> MutexGuard<'_, Hooks<Call>> {
        self.hooks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
