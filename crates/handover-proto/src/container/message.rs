//! What instances of version 3 say to each other. The numbers of the variants are on the wire.

use serde::{Deserialize, Serialize};

use super::identity::{Attempt, PeerId};

/// One message. *Old* is who serves, *young* who came later and is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Message {
    /// I am ready and serve.
    Announce {
        /// The time I announce to legacy peers, so that my legacy datagram is known for an echo.
        legacy_ms: Option<i64>,
    },
    /// Old: are you there? Asked before the drain, and once more before the old one lets go.
    Challenge {
        /// Whom.
        to: PeerId,
        /// What the answer must name.
        handover: Attempt,
    },
    /// Young: I am, and I serve.
    Confirm {
        /// Who asked.
        to: PeerId,
        /// What was asked.
        handover: Attempt,
    },
    /// Old: I drain. Every second while it does.
    Draining {
        /// For whom.
        to: PeerId,
        /// Which attempt.
        handover: Attempt,
    },
    /// Old: I serve no more, and could still come back. Repeated until an `Alive` says that it was
    /// heard, then as a heartbeat.
    Released {
        /// For whom.
        to: PeerId,
        /// Which attempt.
        handover: Attempt,
    },
    /// Young: I am there. Every second from `Confirm` to `Committed`.
    Alive {
        /// The old one.
        to: PeerId,
        /// Which attempt.
        handover: Attempt,
        /// `Released` was heard.
        released: bool,
        /// Who serves: the sender, or whom it hands over to itself.
        serving: PeerId,
    },
    /// Old: I let go for good.
    Committed {
        /// For whom.
        to: PeerId,
        /// Which attempt.
        handover: Attempt,
    },
    /// Young: I failed or was told to stop; take back.
    Withdraw {
        /// The old one.
        to: PeerId,
        /// Which attempt.
        handover: Attempt,
    },
    /// Old: I took back, and am the youngest now.
    Resumed {
        /// From whom.
        to: PeerId,
        /// Which attempt.
        handover: Attempt,
    },
    /// Does anybody serve? Answered with `Announce`.
    Who,
}

impl Message {
    /// Whom it concerns; nobody in particular otherwise.
    #[must_use]
    pub const fn to(&self) -> Option<PeerId> {
        match self {
            Self::Announce { .. } | Self::Who => None,
            Self::Challenge { to, .. }
            | Self::Confirm { to, .. }
            | Self::Draining { to, .. }
            | Self::Released { to, .. }
            | Self::Alive { to, .. }
            | Self::Committed { to, .. }
            | Self::Withdraw { to, .. }
            | Self::Resumed { to, .. } => Some(*to),
        }
    }

    /// Its name, for logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Announce { .. } => "Announce",
            Self::Challenge { .. } => "Challenge",
            Self::Confirm { .. } => "Confirm",
            Self::Draining { .. } => "Draining",
            Self::Released { .. } => "Released",
            Self::Alive { .. } => "Alive",
            Self::Committed { .. } => "Committed",
            Self::Withdraw { .. } => "Withdraw",
            Self::Resumed { .. } => "Resumed",
            Self::Who => "Who",
        }
    }
}
