//! The steps of an exchange as they are told to people and programs.

use core::fmt;

use serde::{Deserialize, Serialize};

/// How a listener is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A duplicate first, the request when the new version is ready: one that fails leaves the
    /// incumbent serving.
    ReadyFirst,
    /// The request first, as theirs: from there on the incumbent goes, whatever the new version does.
    Plain,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadyFirst => {
                "its listener is duplicated; it is asked to go when the new version is ready"
            }
            Self::Plain => {
                "plain exchange: it goes in 5 s, also if the new version does not become ready"
            }
        })
    }
}

/// A step of the exchange. A process id of 0 is of a namespace that is not seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A process serves, and is to be taken over from.
    Found {
        /// Which.
        pid: u32,
        /// How.
        way: Way,
    },
    /// It gave its listener, and goes.
    Taken {
        /// Which.
        pid: u32,
    },
    /// It was not asked: it serves on.
    LetGo {
        /// Which.
        pid: u32,
    },
    /// It was asked and has not answered yet; both serve.
    Slow {
        /// Which.
        pid: u32,
    },
    /// The path is listened on: others can take over from here.
    Offered,
    /// A process asked, and was given the listener. This service ends when it has drained.
    Given {
        /// Which.
        pid: u32,
    },
    /// The one that was given the listener has died meanwhile: this service goes on.
    TakerDied {
        /// Which.
        pid: u32,
    },
    /// A process said something else, or may not ask: it was turned away.
    TurnedAway {
        /// Which.
        pid: u32,
        /// Its user.
        uid: u32,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { pid, way } => write!(f, "process {pid} serves; {way}"),
            Self::Taken { pid } => write!(f, "process {pid} gave its listener and goes"),
            Self::LetGo { pid } => {
                write!(f, "process {pid} was not asked to go and serves on")
            }
            Self::Slow { pid } => write!(
                f,
                "process {pid} was asked for its listener and does not answer; still waiting \
                 (another silent connection may be before ours)"
            ),
            Self::Offered => f.write_str("another version can take over here"),
            Self::Given { pid } => write!(
                f,
                "process {pid} took over; this one serves on for 5 s, drains and ends"
            ),
            Self::TakerDied { pid } => {
                write!(
                    f,
                    "process {pid}, which took over, has died; this one goes on"
                )
            }
            Self::TurnedAway { pid, uid } => write!(
                f,
                "process {pid} of uid {uid} connected and was turned away: expected ZERO, and a \
                 process of this user or root; serving goes on"
            ),
        }
    }
}
