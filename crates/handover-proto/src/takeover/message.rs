//! What is said, as values.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::identity::{Generation, InstanceId, InstancePid};
use crate::manifest::ListenerEntry;
use crate::phase::{Mode, Phase};

/// What a process that connects wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// To take over.
    Take {
        /// The service it believes to be part of.
        service: String,
        /// Its process id, in its own pid namespace.
        pid: InstancePid,
        /// Its network namespace (`SO_NETNS_COOKIE`), if its kernel tells.
        network: Option<u64>,
        /// Oldest version of the native protocol it speaks.
        oldest: u16,
        /// Newest version of the native protocol it speaks.
        newest: u16,
    },
    /// The incumbent is to start its program again and hand over to it. Answered with `Progress`,
    /// and `Finished` or `Refused`.
    Upgrade,
    /// The instance that is parked since the last commit is to take back. Answered like `Upgrade`.
    Undo,
    /// Who serves? Answered with `Serving`.
    Status,
}

/// A listener that crosses: one descriptor of the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Passed {
    /// What it is.
    pub listener: ListenerEntry,
    /// Whether somebody outside the service holds the same socket (systemd), so that what is in its
    /// queue is not lost when the service stops.
    pub held: bool,
}

/// Why a process is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusedFor {
    /// A handover is running already.
    Busy,
    /// It runs as another user.
    Uid,
    /// It lives in another network namespace, where the listeners are of no use.
    Network,
    /// It is of another service.
    Service,
    /// The incumbent is being stopped.
    Stopping,
    /// There is nothing to undo.
    Nothing,
    /// It broke the rules of the conversation.
    Violation,
    /// The incumbent could not do its part.
    Fault,
}

/// What an incumbent answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It may take over. The takeover socket itself is attached to this frame's first byte.
    Granted {
        /// Its number from here on.
        instance: InstanceId,
        /// How many instances have been committed before it.
        generation: Generation,
        /// How many listeners follow.
        listeners: u32,
    },
    /// Some of the listeners; at most [`super::LISTENERS_AT_ONCE`]. A descriptor for each, in
    /// order, is attached to the frame's first byte.
    Listeners {
        /// What they are.
        entries: Vec<Passed>,
    },
    /// No. Nothing was changed; the incumbent serves on.
    Refused {
        /// Why, for programs.
        cause: RefusedFor,
        /// Why, for people.
        reason: String,
    },
    /// Something happened, for people.
    Progress {
        /// What.
        text: String,
    },
    /// An attempt is over.
    Finished {
        /// The exit code of a command that waited: [`crate::outcome::Outcome::exit_code`].
        code: u8,
        /// One word for tables: [`crate::outcome::Outcome::word`].
        word: String,
        /// How, for people.
        text: String,
    },
    /// Who serves.
    Serving {
        /// The service.
        service: String,
        /// The process that answers: the incumbent, or in probation the parked one.
        pid: InstancePid,
        /// Its number.
        instance: InstanceId,
        /// How many instances have been committed.
        generation: Generation,
        /// Where the running attempt stands.
        phase: Phase,
        /// The mode.
        mode: Mode,
        /// What the process runs.
        program: String,
        /// For how long it has been the incumbent.
        uptime_ms: u64,
        /// Its listeners.
        listeners: Vec<ListenerEntry>,
        /// The process that takes over, if an attempt runs; the new one, in probation.
        successor: Option<InstancePid>,
    },
}
