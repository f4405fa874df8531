//! The thread that calls handlers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use handover_hub_proto::event::Event;
use handover_hub_proto::hook::{Hook, Hooks};
use handover_hub_proto::spec::ChildSpec;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::{Code, Occasion};
use crate::events::BACKLOG;
use crate::kind::guard;

/// Handlers that are to be called.
pub(super) struct Waiting {
    /// None to learn that all before have returned.
    pub(super) what: Option<(Hook, Occasion)>,
    /// Told when they have returned.
    pub(super) called: Option<oneshot::Sender<()>>,
}

/// What the node and the thread share.
#[derive(Default)]
pub(super) struct Calling {
    hooks: Mutex<Hooks<Code>>,
    events: OnceLock<broadcast::Sender<Event>>,
    /// What is being called.
    running: Mutex<Option<(Hook, String)>>,
    /// The node has stopped waiting for it.
    overdue: AtomicBool,
}

/// Begins to call; none if there can be no thread. It ends with the last sender.
pub(super) fn begin(calling: Arc<Calling>, most: usize) -> Option<mpsc::Sender<Waiting>> {
    let (queue, mut queued) = mpsc::channel::<Waiting>(most);
    let runtime = Handle::current();
    let run = move || {
        let _entered = runtime.enter();
        while let Some(waiting) = queued.blocking_recv() {
            if let Some((hook, occasion)) = &waiting.what {
                calling.call(*hook, occasion);
            }
            if let Some(called) = waiting.called {
                let _ = called.send(());
            }
        }
    };
    let thread = std::thread::Builder::new().name("hub-hooks".to_owned());
    match thread.spawn(run) {
        Ok(_) => Some(queue),
        Err(error) => {
            tracing::error!(%error, "no thread for hooks: none is called");
            None
        }
    }
}

impl Calling {
    pub(super) fn hooks(&self) -> MutexGuard<'_, Hooks<Code>> {
        lock(&self.hooks)
    }

    pub(super) fn events(&self) -> broadcast::Sender<Event> {
        let events = || broadcast::Sender::new(BACKLOG);
        self.events.get_or_init(events).clone()
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.overdue.load(Ordering::Acquire)
    }

    /// The node waits no longer.
    pub(super) fn overdue(&self, hook: Hook, patience: Duration) {
        let running = lock(&self.running).clone();
        self.overdue.store(running.is_some(), Ordering::Release);
        let reason = format!("no return within {patience:?}: the node does not wait for it");
        match running {
            Some((hook, handler)) => self.failed(hook, Some(handler), reason),
            None => self.failed(hook, None, reason),
        }
    }

    pub(super) fn failed(&self, hook: Hook, handler: Option<String>, reason: String) {
        tracing::warn!(%hook, ?handler, %reason, "a handler failed");
        let failed = Event::HookFailed {
            hook,
            handler,
            reason,
        };
        // Nobody has to listen.
        let _ = self.events().send(failed);
    }

    fn codes(&self, hook: Hook) -> Vec<(String, Code)> {
        let hooks = self.hooks();
        let handlers = hooks.of(hook);
        let codes = handlers.map(|handler| (handler.id.clone(), handler.call.clone()));
        codes.collect()
    }

    fn call(&self, hook: Hook, occasion: &Occasion) {
        for (id, code) in self.codes(hook) {
            // What alters children is called by their starts.
            if let Code::Call(call) = code {
                *lock(&self.running) = Some((hook, id.clone()));
                let called = guard(|| call(hook, occasion));
                *lock(&self.running) = None;
                self.overdue.store(false, Ordering::Release);
                if let Err(fault) = called {
                    self.failed(hook, Some(id), fault.to_string());
                }
            }
        }
    }

    /// What a child is after all handlers; one that fails is as if it were not there.
    pub(super) fn alter(&self, child: Arc<ChildSpec>) -> Arc<ChildSpec> {
        let mut child = child;
        for (id, code) in self.codes(Hook::AlterSpec) {
            let altered = match code {
                Code::Alter(alter) => guard(|| {
                    let mut altered = ChildSpec::clone(&child);
                    alter(&mut altered);
                    altered
                }),
                Code::Call(call) => guard(|| {
                    call(Hook::AlterSpec, &Occasion::Child(Arc::clone(&child)));
                    ChildSpec::clone(&child)
                }),
            };
            match altered {
                Ok(altered) if altered.id == child.id => child = Arc::new(altered),
                Ok(altered) => {
                    let reason = format!("it made {} of {}: an id stays", altered.id, child.id);
                    self.failed(Hook::AlterSpec, Some(id), reason);
                }
                Err(fault) => self.failed(Hook::AlterSpec, Some(id), fault.to_string()),
            }
        }
        child
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
