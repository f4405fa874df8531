//! What two nodes say to each other before anything else.
//!
//! The first twelve bytes never change: the magic, then the lowest and the highest version of the
//! protocol that the speaker knows. What follows is read only if a version is common to both;
//! fields are only ever added at its end.

use serde::{Deserialize, Serialize};

use crate::transport::{Introduction, Rejection};

/// Says that this is no other protocol that happens to use the same framing.
const MAGIC: [u8; 8] = *b"HNDOVHUB";

/// Longest greeting or answer, in bytes: names, an address, a reason.
pub(super) const GREETING_MAX: usize = 4096;

/// Versions of the protocol that a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub lowest: u16,
    /// The newest.
    pub highest: u16,
}

impl Default for Versions {
    fn default() -> Self {
        Self {
            lowest: 1,
            highest: 1,
        }
    }
}

impl Versions {
    /// The newest version that both speak.
    fn common(self, other: Self) -> Result<u16, Rejection> {
        let highest = self.highest.min(other.highest);
        if highest >= self.lowest.max(other.lowest) {
            Ok(highest)
        } else {
            Err(Rejection::Version {
                expected_lowest: self.lowest,
                expected_highest: self.highest,
                found_lowest: other.lowest,
                found_highest: other.highest,
            })
        }
    }

    fn head(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.lowest.to_le_bytes());
        bytes.extend(self.highest.to_le_bytes());
        bytes
    }

    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (lowest, rest) = rest.split_first_chunk()?;
        let (highest, rest) = rest.split_first_chunk()?;
        let versions = Self {
            lowest: u16::from_le_bytes(*lowest),
            highest: u16::from_le_bytes(*highest),
        };
        Some((versions, rest))
    }
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// Who it is.
    pub(super) who: Introduction,
    /// The longest frame it takes, in bytes.
    pub(super) frame: u32,
}

/// What the node that was dialled says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Frames may follow.
    Welcome(Greeting),
    /// They may not.
    Rejected(Rejection),
}

impl Greeting {
    pub(super) fn encode(&self, versions: Versions) -> Vec<u8> {
        append(versions, self)
    }

    /// The greeting, and the version to speak.
    pub(super) fn decode(bytes: &[u8], versions: Versions) -> Result<(Self, u16), Rejection> {
        let (theirs, rest) = Versions::split(bytes).ok_or(Rejection::Garbled)?;
        let version = versions.common(theirs)?;
        let (greeting, _added_later) =
            postcard::take_from_bytes(rest).map_err(|_| Rejection::Garbled)?;
        Ok((greeting, version))
    }
}

impl Answer {
    pub(super) fn encode(&self, versions: Versions) -> Vec<u8> {
        append(versions, self)
    }

    pub(super) fn decode(bytes: &[u8], versions: Versions) -> Result<(Self, u16), Rejection> {
        let (theirs, rest) = Versions::split(bytes).ok_or(Rejection::Garbled)?;
        let version = versions.common(theirs)?;
        let (answer, _added_later) =
            postcard::take_from_bytes(rest).map_err(|_| Rejection::Garbled)?;
        Ok((answer, version))
    }
}

fn append(versions: Versions, body: &impl Serialize) -> Vec<u8> {
    let mut bytes = versions.head();
    // Only a sequence of unknown length can fail to be encoded; there is none.
    bytes.extend(postcard::to_allocvec(body).unwrap_or_default());
    bytes.truncate(GREETING_MAX);
    bytes
}

/// Keeps a reason short enough for an answer.
pub(super) fn unauthorised(reason: impl std::fmt::Display) -> Rejection {
    let mut reason = reason.to_string();
    let end = (0..=GREETING_MAX / 8)
        .rev()
        .find(|end| reason.is_char_boundary(*end))
        .unwrap_or_default();
    reason.truncate(end);
    Rejection::Unauthorised { reason }
}

#[cfg(test)]
mod tests;
