//! The processes a coordinator is responsible for.

use crate::identity::{CandidateId, InstanceId, InstancePid};
use crate::journal::Recorded;

/// The state of an instance's native channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// It has not greeted; it may be a program that knows nothing of us.
    Silent,
    /// It greeted.
    Open,
    /// It greeted and the channel broke.
    Broken,
}

/// A process a coordinator is responsible for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its number.
    pub instance: InstanceId,
    /// What it runs.
    pub candidate: CandidateId,
    /// Its process id, once spawned.
    pub pid: Option<InstancePid>,
    /// Its native channel.
    pub link: Link,
}

impl Member {
    pub(super) fn recorded(self) -> Recorded {
        Recorded {
            instance: self.instance,
            candidate: self.candidate,
            pid: self.pid,
        }
    }

    pub(super) fn found(recorded: Recorded) -> Self {
        Self {
            instance: recorded.instance,
            candidate: recorded.candidate,
            pid: recorded.pid,
            link: Link::Silent,
        }
    }
}
