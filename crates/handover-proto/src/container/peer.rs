//! The machine of one instance: it announces itself once it serves, asks a younger one whether it is
//! there, drains for it, and lets go or takes back.

use alloc::collections::VecDeque;
use alloc::string::String;

use super::envelope::{Envelope, EnvelopeError};
use super::event::{Cause, Event, Successor};
use super::identity::PeerId;
use super::legacy::LegacyError;
use super::order::Order;
use super::settings::Settings;
use crate::moment::{Machine, Moment};

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

/// What can happen to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Its program is ready and serves.
    Ready,
    /// Its program is gone and will not be started again.
    Failed,
    /// A datagram of version 3 that [`super::envelope::open`] took.
    Heard(Envelope),
    /// A legacy datagram that [`super::legacy::decode`] took.
    Legacy {
        /// The time in it.
        time_ms: i64,
        /// The wall clock now, milliseconds since the Unix epoch.
        wall_ms: i64,
    },
    /// A datagram that was not taken.
    Refused(Refusal),
    /// Answers [`Effect::Drain`]: the program serves no more.
    Drained,
    /// Answers [`Effect::Resume`]: the program serves again.
    Resumed {
        /// As the youngest: a new number from the register, a new time.
        order: Order,
        /// A new time for legacy peers.
        legacy_ms: i64,
    },
    /// Answers [`Effect::Resume`]: the program cannot be started again.
    CannotResume,
    /// The platform wants the instance gone (SIGTERM).
    Stop,
    /// A way to others is there, again or for the first time.
    Reachable,
    /// Time has passed.
    Tick,
}

/// What an instance wants done, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send this by every way, sealed.
    Send(Envelope),
    /// Send a legacy announcement.
    SendLegacy {
        /// The time in it.
        time_ms: i64,
    },
    /// Drain the program and stop it; answered with [`Input::Drained`].
    Drain {
        /// For whom.
        by: Successor,
    },
    /// Start the program again; answered with [`Input::Resumed`] or [`Input::CannotResume`].
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
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
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
    /// It serves no more, cannot come back, and knows of nobody who serves.
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

/// The machine of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    settings: Settings,
    identity: Identity,
    effects: VecDeque<Effect>,
}

impl Peer {
    /// An instance whose program is not ready.
    #[must_use]
    pub fn new(settings: Settings, identity: Identity, _now: Moment) -> Self {
        Self {
            settings,
            identity,
            effects: VecDeque::new(),
        }
    }

    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        Phase::Warming
    }

    /// Who it is; its order and legacy time change when it takes back.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it decides by.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Machine for Peer {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, _now: Moment, _input: Input) {}

    fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    fn next_deadline(&self) -> Option<Moment> {
        None
    }
}
