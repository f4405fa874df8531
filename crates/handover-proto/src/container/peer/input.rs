//! What can happen to an instance.

use alloc::string::String;

use crate::container::envelope::{Envelope, EnvelopeError};
use crate::container::identity::PeerId;
use crate::container::legacy::LegacyError;
use crate::container::order::Order;

/// Who an instance is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The service.
    pub service: String,
    /// Its name, drawn at random by each process.
    pub peer: PeerId,
    /// Where it stands.
    pub order: Order,
    /// The start time it announces to legacy peers, milliseconds since the Unix epoch.
    pub legacy_ms: i64,
    /// Random bytes that nobody else knows, from which the names of attempts are made.
    pub seed: [u8; 32],
}

/// Why a datagram never became an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// It came to the legacy port.
    #[error("legacy port: {0}")]
    Legacy(#[from] LegacyError),
    /// It came to the port of version 3.
    #[error("{0}")]
    Envelope(#[from] EnvelopeError),
}

/// What can happen to an instance. A driver's time stands still while its process is suspended: an
/// instance that slept must not take a full socket for silence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Its program is ready and serves.
    Ready,
    /// Its program is gone and will not be started again.
    Failed,
    /// A datagram of version 3 that [`open`](crate::container::envelope::open) took.
    Heard(Envelope),
    /// A legacy datagram that [`decode`](crate::container::legacy::decode) took.
    Legacy {
        /// The time in it.
        time_ms: i64,
        /// The wall clock now, milliseconds since the Unix epoch.
        wall_ms: i64,
    },
    /// A datagram that was not taken.
    Refused(Refusal),
    /// Answers [`Effect::Drain`](super::Effect::Drain): the program serves no more.
    Drained,
    /// Answers [`Effect::Resume`](super::Effect::Resume): the program serves again.
    Resumed {
        /// As the youngest: a new number from the register, a new time.
        order: Order,
        /// A new time for legacy peers.
        legacy_ms: i64,
    },
    /// Answers [`Effect::Resume`](super::Effect::Resume): the program cannot be started again.
    CannotResume,
    /// The platform wants the instance gone (SIGTERM).
    Stop,
    /// A way to others is there, again or for the first time.
    Reachable,
    /// Time has passed.
    Tick,
}
