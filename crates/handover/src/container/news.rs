//! What people and programs are told about an instance and its ways to the others.

use std::fmt;

use handover_proto::container::event::Event;
use handover_proto::container::settings::Legacy;
use serde::{Deserialize, Serialize};

/// Something happened.
///
/// As JSON each has the field `event`, the name of what happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum News {
    /// To the instance.
    Peer(Event),
    /// To its ways to the others.
    Way(Way),
}

/// How datagrams of version 3 cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// Through sockets in a directory that the containers share.
    Volume,
    /// To a group, over network interfaces.
    Multicast,
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Volume => "volume",
            Self::Multicast => "multicast",
        })
    }
}

/// Something happened to the ways to other instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Way {
    /// How other instances of version 3 are reached, told once, at the start.
    #[serde(rename = "medium_chosen")]
    Chosen {
        /// Which way.
        medium: Medium,
        /// Why, and where.
        because: String,
        /// Whether datagrams are authenticated.
        key: bool,
        /// What becomes of peers of handover-lib.
        legacy: Legacy,
    },
    /// An interface is used from now on.
    #[serde(rename = "interface_joined")]
    Joined {
        /// Its name.
        interface: String,
        /// It has no IPv4 address, so that legacy peers cannot be reached over it.
        ipv6_only: bool,
    },
    /// An interface is used no more.
    #[serde(rename = "interface_left")]
    Left {
        /// Its name.
        interface: String,
    },
    /// There is no interface to use; one that appears is used.
    NoInterface {
        /// Which would be.
        expected: String,
        /// Only peers of handover-lib are concerned; the others are reached through a volume.
        only_legacy: bool,
    },
    /// An interface or a socket cannot be used.
    #[serde(rename = "way_failed")]
    Failed {
        /// The way.
        medium: Medium,
        /// What failed, and why.
        reason: String,
    },
    /// The register in the volume could not be read, and another one was begun.
    RegisterAnew {
        /// What was found.
        reason: String,
    },
    /// The volume may not be what it must be.
    VolumeDoubtful {
        /// What it is.
        reason: String,
    },
    /// Nobody younger can ask for listeners.
    NoListeners {
        /// Why.
        reason: String,
    },
}

impl News {
    /// Whether somebody should look.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::Peer(event) => event.is_warning(),
            Self::Way(way) => match way {
                Way::Chosen { .. } | Way::Joined { .. } => false,
                Way::Left { .. }
                | Way::NoInterface { .. }
                | Way::Failed { .. }
                | Way::RegisterAnew { .. }
                | Way::VolumeDoubtful { .. }
                | Way::NoListeners { .. } => true,
            },
        }
    }

    /// What happened, as it stands in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Peer(event) => event.name(),
            Self::Way(way) => match way {
                Way::Chosen { .. } => "medium_chosen",
                Way::Joined { .. } => "interface_joined",
                Way::Left { .. } => "interface_left",
                Way::NoInterface { .. } => "no_interface",
                Way::Failed { .. } => "way_failed",
                Way::RegisterAnew { .. } => "register_anew",
                Way::VolumeDoubtful { .. } => "volume_doubtful",
                Way::NoListeners { .. } => "no_listeners",
            },
        }
    }
}

impl fmt::Display for News {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(event) => event.fmt(f),
            Self::Way(way) => way.fmt(f),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen {
                medium,
                because,
                key,
                legacy,
            } => {
                let secret = if *key { "with a key" } else { "without a key" };
                let legacy = match legacy {
                    Legacy::Obey => "obeyed",
                    Legacy::Announce => "announced to and not obeyed",
                    Legacy::Off => "left alone",
                };
                write!(
                    f,
                    "other instances are reached by {medium}, {secret} ({because}); peers of \
                     handover-lib are {legacy}"
                )
            }
            Self::Joined {
                interface,
                ipv6_only: false,
            } => write!(f, "interface {interface} is used"),
            Self::Joined {
                interface,
                ipv6_only: true,
            } => write!(
                f,
                "interface {interface} is used; it has no IPv4 address, so legacy peers cannot be \
                 reached over it"
            ),
            Self::Left { interface } => write!(f, "interface {interface} is gone"),
            Self::NoInterface {
                expected,
                only_legacy: true,
            } => write!(
                f,
                "there is no network interface to use ({expected}): peers of handover-lib are not \
                 reached until one appears; the others are, through the volume"
            ),
            Self::NoInterface {
                expected,
                only_legacy: false,
            } => write!(
                f,
                "there is no network interface to use ({expected}): nobody is reached or heard \
                 until one appears, and this instance goes on meanwhile"
            ),
            Self::Failed { medium, reason } => write!(f, "{medium}: {reason}"),
            Self::RegisterAnew { reason } => write!(
                f,
                "the register of the volume was no register and another one was begun: {reason}"
            ),
            Self::VolumeDoubtful { reason } => write!(
                f,
                "the volume is {reason}: containers of one device must share it, and no other \
                 device"
            ),
            Self::NoListeners { reason } => {
                write!(f, "listeners cannot cross to a younger instance: {reason}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
