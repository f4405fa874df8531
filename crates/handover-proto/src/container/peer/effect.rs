//! What an instance wants done.

use serde::{Deserialize, Serialize};

use crate::container::envelope::Envelope;
use crate::container::event::{Cause, Event, Successor};

/// What an instance wants done, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send this by every way, sealed. One that cannot be sent is lost, as on any network.
    Send(Envelope),
    /// Send a legacy announcement.
    SendLegacy {
        /// The time in it.
        time_ms: i64,
    },
    /// Drain the program, or end it if it is not ready; answered with
    /// [`Input::Drained`](super::Input::Drained).
    Drain {
        /// For whom.
        by: Successor,
    },
    /// Start the program again; answered with [`Input::Resumed`](super::Input::Resumed) or
    /// [`Input::CannotResume`](super::Input::CannotResume). `Drain` may come before the answer: then
    /// none is expected.
    Resume {
        /// Why.
        cause: Cause,
    },
    /// Write the handover-complete file: the platform may end this container.
    Complete {
        /// Who serves.
        by: Successor,
    },
    /// Nothing follows: the instance has left.
    Leave,
    /// Tell people.
    Report(Event),
}

/// Where an instance stands, for people and programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its program is not ready.
    Warming,
    /// It serves.
    Serving,
    /// It serves, and asks a younger one whether it is there.
    Asking,
    /// It finishes what it has begun.
    Draining,
    /// It serves no more and could come back.
    Probation,
    /// It serves no more, cannot come back, and has not let go.
    Stranded,
    /// It comes back.
    TakingBack,
    /// It let go for good.
    Retired,
    /// It was told to stop and drains.
    Leaving,
    /// It is gone.
    Left,
}

impl Phase {
    /// Whether new requests are served.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Serving | Self::Asking)
    }
}
