//! What people and programs are told; screen, JSON and log are views of it.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use super::identity::{BootId, PeerId};
use super::order::Order;

/// For whom an instance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "successor", rename_all = "snake_case")]
pub enum Successor {
    /// For an instance of version 3, which confirmed that it is there.
    Peer {
        /// Which.
        peer: PeerId,
        /// Where it stands.
        order: Order,
    },
    /// For one of `handover-lib`, by its word alone.
    Legacy {
        /// When it started, milliseconds since the Unix epoch by its clock.
        time_ms: i64,
    },
    /// For nobody: it was told to stop.
    Nobody,
}

impl fmt::Display for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer { peer, .. } => write!(f, "{peer:#}"),
            Self::Legacy { time_ms } => write!(f, "the legacy instance started at {time_ms} ms"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// Why an old instance takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// Nothing was heard of the young one.
    Silent {
        /// For how long.
        silent: Duration,
    },
    /// The young one said that it failed, or was told to stop.
    Withdrawn,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { silent } => write!(f, "was not heard for {silent:.1?}"),
            Self::Withdrawn => f.write_str("withdrew"),
        }
    }
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// This instance serves, and says so to others.
    Serving {
        /// Its name.
        peer: PeerId,
        /// Where it stands.
        order: Order,
        /// What it announces to legacy peers.
        legacy_ms: Option<i64>,
    },
    /// A younger instance announced itself.
    YoungerHeard {
        /// Which.
        peer: PeerId,
        /// Where it stands.
        order: Order,
    },
    /// It did not answer.
    CandidateSilent {
        /// Which.
        peer: PeerId,
        /// Asked for so long.
        asked: Duration,
    },
    /// This instance drains.
    Draining {
        /// For whom.
        #[serde(flatten)]
        by: Successor,
    },
    /// A still younger instance takes the place of the successor.
    Replaced {
        /// The one before.
        from: Successor,
        /// The one now.
        to: Successor,
    },
    /// The successor is not there, and the drain is not over.
    SuccessorLost {
        /// Which.
        peer: PeerId,
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The successor is there again.
    SuccessorBack {
        /// Which.
        peer: PeerId,
    },
    /// This instance is drained and stays able to come back.
    Probation {
        /// Who serves.
        peer: PeerId,
        /// For so long.
        lasts: Duration,
    },
    /// This instance comes back.
    TakingBack {
        /// From whom.
        peer: PeerId,
        /// Why.
        #[serde(flatten)]
        cause: Cause,
    },
    /// The successor is gone and this instance cannot come back.
    NobodyServes {
        /// The successor.
        peer: PeerId,
        /// Why it counts as gone.
        #[serde(flatten)]
        cause: Cause,
    },
    /// This instance let go for good.
    Committed {
        /// To whom.
        #[serde(flatten)]
        by: Successor,
    },
    /// An older instance asked whether this one is there, and was told so.
    Asked {
        /// Which.
        by: PeerId,
    },
    /// An older instance drains for this one.
    OlderDrains {
        /// Which.
        peer: PeerId,
    },
    /// An older instance serves no more, and waits whether this one holds.
    OlderReleased {
        /// Which.
        peer: PeerId,
    },
    /// An older instance let go for good.
    OlderCommitted {
        /// Which.
        peer: PeerId,
    },
    /// An older instance took back.
    OlderResumed {
        /// Which.
        peer: PeerId,
    },
    /// An older instance that had not let go was not heard any more.
    OlderSilent {
        /// Which.
        peer: PeerId,
        /// For how long.
        silent: Duration,
    },
    /// The program is ready, but this instance has begun to go.
    ReadyRefused,
    /// The program of this instance is gone for good.
    Failed {
        /// How many older instances were told to take back.
        told: usize,
    },
    /// This instance was told to stop.
    Stopping {
        /// How many older instances were told to take back.
        told: usize,
    },
    /// An instance of another device was heard; told once for each device.
    Elsewhere {
        /// Which.
        peer: PeerId,
        /// Its device.
        boot: BootId,
    },
    /// A legacy announcement from the future was refused.
    LegacyFromFuture {
        /// Its time.
        time_ms: i64,
        /// The time here.
        wall_ms: i64,
    },
    /// A legacy announcement was not obeyed, since legacy peers are not to be.
    LegacyNotObeyed {
        /// Its time.
        time_ms: i64,
    },
    /// A legacy peer announced a time that is still to come, so this instance announces a later one.
    LegacyTimeRaised {
        /// The time it would have announced.
        from: i64,
        /// The time it announces.
        to: i64,
    },
    /// Datagrams were refused.
    Refused {
        /// How many since the last time it was told.
        count: u64,
        /// Why the last one was.
        last: String,
    },
}

impl Event {
    /// The event's name as it stands in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Serving { .. } => "serving",
            Self::YoungerHeard { .. } => "younger_heard",
            Self::CandidateSilent { .. } => "candidate_silent",
            Self::Draining { .. } => "draining",
            Self::Replaced { .. } => "replaced",
            Self::SuccessorLost { .. } => "successor_lost",
            Self::SuccessorBack { .. } => "successor_back",
            Self::Probation { .. } => "probation",
            Self::TakingBack { .. } => "taking_back",
            Self::NobodyServes { .. } => "nobody_serves",
            Self::Committed { .. } => "committed",
            Self::Asked { .. } => "asked",
            Self::OlderDrains { .. } => "older_drains",
            Self::OlderReleased { .. } => "older_released",
            Self::OlderCommitted { .. } => "older_committed",
            Self::OlderResumed { .. } => "older_resumed",
            Self::OlderSilent { .. } => "older_silent",
            Self::ReadyRefused => "ready_refused",
            Self::Failed { .. } => "failed",
            Self::Stopping { .. } => "stopping",
            Self::Elsewhere { .. } => "elsewhere",
            Self::LegacyFromFuture { .. } => "legacy_from_future",
            Self::LegacyNotObeyed { .. } => "legacy_not_obeyed",
            Self::LegacyTimeRaised { .. } => "legacy_time_raised",
            Self::Refused { .. } => "refused",
        }
    }

    /// Whether somebody should look.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::CandidateSilent { .. }
            | Self::SuccessorLost { .. }
            | Self::TakingBack { .. }
            | Self::NobodyServes { .. }
            | Self::OlderResumed { .. }
            | Self::ReadyRefused
            | Self::Failed { .. }
            | Self::Elsewhere { .. }
            | Self::LegacyFromFuture { .. }
            | Self::LegacyNotObeyed { .. }
            | Self::LegacyTimeRaised { .. }
            | Self::Refused { .. } => true,
            Self::Serving { .. }
            | Self::YoungerHeard { .. }
            | Self::Draining { .. }
            | Self::Replaced { .. }
            | Self::SuccessorBack { .. }
            | Self::Probation { .. }
            | Self::Committed { .. }
            | Self::Asked { .. }
            | Self::OlderDrains { .. }
            | Self::OlderReleased { .. }
            | Self::OlderCommitted { .. }
            | Self::OlderSilent { .. }
            | Self::Stopping { .. } => false,
        }
    }
}

impl fmt::Display for Event {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving { .. }
            | Self::Draining { .. }
            | Self::Committed { .. }
            | Self::ReadyRefused
            | Self::Failed { .. }
            | Self::Stopping { .. } => self.about_this_instance(f),
            Self::YoungerHeard { .. }
            | Self::CandidateSilent { .. }
            | Self::Replaced { .. }
            | Self::SuccessorLost { .. }
            | Self::SuccessorBack { .. }
            | Self::Probation { .. }
            | Self::TakingBack { .. }
            | Self::NobodyServes { .. } => self.about_younger(f),
            Self::Asked { .. }
            | Self::OlderDrains { .. }
            | Self::OlderReleased { .. }
            | Self::OlderCommitted { .. }
            | Self::OlderResumed { .. }
            | Self::OlderSilent { .. } => self.about_older(f),
            Self::Elsewhere { .. }
            | Self::LegacyFromFuture { .. }
            | Self::LegacyNotObeyed { .. }
            | Self::LegacyTimeRaised { .. }
            | Self::Refused { .. } => self.about_strangers(f),
        }
    }
}

impl Event {
    fn about_this_instance(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving { peer, order, .. } => {
                write!(f, "this instance, {peer:#}, serves ({order})")
            }
            Self::Draining {
                by: Successor::Nobody,
            } => f.write_str("this instance drains, since it was told to stop"),
            Self::Draining { by } => write!(f, "{by} serves; this instance drains"),
            Self::Committed {
                by: Successor::Nobody,
            } => f.write_str("this instance let go, since it was told to stop"),
            Self::Committed { by } => write!(f, "{by} serves; this instance let go for good"),
            Self::ReadyRefused => f.write_str(
                "the program became ready while this instance goes; it is not announced",
            ),
            Self::Failed { told: 0 } => {
                f.write_str("this instance failed and serves no more; start another one")
            }
            Self::Failed { told } => write!(
                f,
                "this instance failed and serves no more; {told} older instance(s) asked to take back"
            ),
            Self::Stopping { told: 0 } => f.write_str("this instance was told to stop"),
            Self::Stopping { told } => write!(
                f,
                "this instance was told to stop; {told} older instance(s) asked to take back"
            ),
            _ => Ok(()),
        }
    }

    fn about_younger(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::YoungerHeard { peer, order } => write!(
                f,
                "{peer:#} is younger ({order}); this instance serves and asks whether it is there"
            ),
            Self::CandidateSilent { peer, asked } => write!(
                f,
                "{peer:#} did not answer for {asked:.1?}; who served before serves on"
            ),
            Self::Replaced { from, to } => {
                write!(f, "{to} serves; it takes the place of {from}")
            }
            Self::SuccessorLost { peer, cause } => write!(
                f,
                "{peer:#} {cause}; this instance comes back once it is drained, if that lasts"
            ),
            Self::SuccessorBack { peer } => write!(f, "{peer:#} is heard again and serves"),
            Self::Probation { peer, lasts } => write!(
                f,
                "{peer:#} serves; this instance is drained, and comes back if {peer:#} fails within {lasts:.1?}"
            ),
            Self::TakingBack { peer, cause } => {
                write!(f, "{peer:#} {cause}; this instance takes back")
            }
            Self::NobodyServes { peer, cause } => write!(
                f,
                "{peer:#} {cause}, and this instance cannot come back: nobody is known to serve; \
                 start another instance"
            ),
            _ => Ok(()),
        }
    }

    fn about_older(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { by } => {
                write!(f, "older {by:#} asked; this instance serves, and said so")
            }
            Self::OlderDrains { peer } => {
                write!(f, "older {peer:#} drains; this instance serves")
            }
            Self::OlderReleased { peer } => write!(
                f,
                "older {peer:#} is drained; this instance serves, and {peer:#} could still come back"
            ),
            Self::OlderCommitted { peer } => {
                write!(f, "older {peer:#} let go for good; this instance serves")
            }
            Self::OlderResumed { peer } => write!(f, "older {peer:#} took back and serves"),
            Self::OlderSilent { peer, silent } => write!(
                f,
                "older {peer:#} was not heard for {silent:.1?}; this instance serves"
            ),
            _ => Ok(()),
        }
    }

    fn about_strangers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { peer, boot } => write!(
                f,
                "{peer:#} of this service is on another device (boot {boot:#}) and is ignored; if \
                 it should not be heard here, see HANDOVER_NETWORK_MODE and NETWORK_INTERFACE"
            ),
            Self::LegacyFromFuture { time_ms, wall_ms } => write!(
                f,
                "a legacy announcement of {time_ms} ms is from the future (it is {wall_ms} ms) and \
                 is refused: forged, or the clock was stepped back"
            ),
            Self::LegacyNotObeyed { time_ms } => write!(
                f,
                "a legacy instance started at {time_ms} ms would have this one drain and is not \
                 obeyed, since anybody could have sent that; allow it with --legacy obey"
            ),
            Self::LegacyTimeRaised { from, to } => write!(
                f,
                "a legacy instance announces a time that is still to come; this one announces \
                 {to} ms instead of {from} ms, so that it counts as younger"
            ),
            Self::Refused { count: 1, last } => write!(f, "a datagram was refused: {last}"),
            Self::Refused { count, last } => {
                write!(f, "{count} datagrams were refused, the last one: {last}")
            }
            _ => Ok(()),
        }
    }
}
