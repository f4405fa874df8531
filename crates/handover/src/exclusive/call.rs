//! What drivers tell the hooks of a service, and what they hear from them.

use std::any::Any;
use std::time::Duration;

use crate::lease::Lease;
use crate::service::ServiceError;
use crate::state::channel::Event;
use crate::state::{Chapter, State, StateWriter};

/// A hook with its arguments.
#[derive(Debug)]
pub(crate) enum Call {
    Base(StateWriter),
    Warm(State),
    Activate(Lease, State),
    Drain(Duration),
    Seal(StateWriter),
    Resume(Lease),
    /// No hook: only ends the one that runs.
    Rest,
}

/// Which hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Base,
    Warm,
    Activate,
    Drain,
    Seal,
    Resume,
}

impl Call {
    pub(crate) const fn hook(&self) -> Option<Hook> {
        match self {
            Self::Base(_) => Some(Hook::Base),
            Self::Warm(_) => Some(Hook::Warm),
            Self::Activate(..) => Some(Hook::Activate),
            Self::Drain(_) => Some(Hook::Drain),
            Self::Seal(_) => Some(Hook::Seal),
            Self::Resume(_) => Some(Hook::Resume),
            Self::Rest => None,
        }
    }
}

/// Whoever owns the service and runs its hooks, one at a time. Dropping it ends the hook that runs,
/// unless it is a seal, and drops the service.
pub(crate) trait Caller: Send {
    /// Calls a hook. One that runs is cancelled first where that can be; otherwise, and a seal
    /// always, it is waited for.
    fn call(&self, serial: u64, call: Call);
}

/// What an owner hears.
#[derive(Debug)]
pub(crate) enum Report {
    /// A hook returned.
    Done {
        serial: u64,
        result: Result<(), ServiceError>,
    },
    /// The service was dropped.
    Dropped,
    /// Something happened on the state channel of this number.
    Channel { number: u64, event: Event },
    /// How far a base or seal is.
    Progress {
        chapter: Chapter,
        done: u64,
        total: u64,
    },
}

/// The words of a panic.
pub(crate) fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without words"))
}
