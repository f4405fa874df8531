//! An input as the states see it: datagrams are checked, and what concerns a young instance is done.

use super::core::Heard;
use crate::container::identity::{Attempt, PeerId};
use crate::container::order::Order;

#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    Ready,
    Failed,
    /// Another instance serves.
    Announced(Heard),
    /// A younger one confirms, or says that it is there.
    Answered(Heard),
    /// A younger one wants this one to take back.
    Withdrawn {
        from: PeerId,
        attempt: Attempt,
    },
    /// Somebody wants to know whether this one serves.
    Who,
    Legacy {
        time_ms: i64,
        wall_ms: i64,
    },
    Drained,
    Resumed {
        order: Order,
        legacy_ms: i64,
    },
    CannotResume,
    Stop,
    Reachable,
    Tick,
}

impl Turn {
    pub(super) const fn is_stop(&self) -> bool {
        matches!(self, Self::Stop)
    }

    pub(super) const fn is_failed(&self) -> bool {
        matches!(self, Self::Failed)
    }
}
