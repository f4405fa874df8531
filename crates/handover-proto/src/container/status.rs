//! The status datagram of `handover-lib` (repository 0.2.3, `HandoverStatus`): 120 bytes by which
//! a load balancer learns where to route.
//!
//! | bytes | value |
//! |---|---|
//! | 0 | [`VERSION`] |
//! | 1..9 | start time of the sender, signed, big-endian, milliseconds since the Unix epoch |
//! | 9..72 | name of the service, UTF-8, padded with zeros |
//! | 72..112 | up to [`MOST_ADDRESSES`] IPv4 addresses; unused ones are zero |
//! | 112..120 | `UP` or `DOWN`, padded with zeros |
//!
//! Their reader looks for a zero to end the name and runs on into the addresses where a name of 63
//! bytes leaves none: such a name is read here, and not written.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::MAX_SERVICE;

/// First byte.
pub const VERSION: u8 = 2;

/// Length of a datagram.
pub const BYTES: usize = 120;

/// Most addresses a datagram has room for.
pub const MOST_ADDRESSES: usize = 10;

/// Longest name that is written, in bytes: one less than there is room for, so that a zero ends it.
pub const MAX_NAME: usize = MAX_SERVICE - 1;

const NAME: core::ops::Range<usize> = 9..72;
const ADDRESSES: core::ops::Range<usize> = 72..112;
const WORD: core::ops::Range<usize> = 112..120;

/// Whether to route to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It serves.
    Up,
    /// It is going.
    Down,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::Down => "DOWN",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What an instance tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatusDatagram {
    /// When it started, milliseconds since the Unix epoch by its own clock.
    pub started_ms: i64,
    /// Its service.
    pub service: String,
    /// Where it can be reached.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether to route to it.
    pub status: State,
}

/// Why there is no datagram for a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StatusEncodeError {
    /// The name is too long.
    #[error(
        "name of {found} bytes; at most {MAX_NAME} are sent, since readers of handover-lib need a \
         zero after it; set BALENA_SERVICE_NAME or the service's name to a shorter one"
    )]
    NameLength {
        /// Its length.
        found: usize,
    },
    /// The name has a zero, where every reader would end it.
    #[error("the name {name:?} has a zero byte, where every reader would end it; choose another")]
    NameWithZero {
        /// The name.
        name: String,
    },
    /// There are too many addresses.
    #[error("{found} addresses; a status has room for {MOST_ADDRESSES}")]
    TooManyAddresses {
        /// How many.
        found: usize,
    },
}

/// Why a datagram is not a status.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StatusError {
    /// It has another length.
    #[error("{found} bytes, a status has {BYTES}")]
    Length {
        /// What it has.
        found: usize,
    },
    /// It is of another version.
    #[error("version {found}, a status has {VERSION}")]
    Version {
        /// The version in the first byte.
        found: u8,
    },
    /// The name is not UTF-8.
    #[error("the name is not UTF-8 after {valid} bytes")]
    NameNotText {
        /// How many bytes are.
        valid: usize,
    },
    /// The status is neither `UP` nor `DOWN`.
    #[error("status {found:?}, expected UP or DOWN")]
    Word {
        /// What it is; bytes that are no text are shown as U+FFFD.
        found: String,
    },
}

impl StatusDatagram {
    /// The bytes of this status.
    ///
    /// # Errors
    /// What has no room.
    pub fn encode(&self) -> Result<[u8; BYTES], StatusEncodeError> {
        let found = self.service.len();
        if found > MAX_NAME {
            return Err(StatusEncodeError::NameLength { found });
        }
        if self.service.contains('\0') {
            let name = self.service.clone();
            return Err(StatusEncodeError::NameWithZero { name });
        }
        let found = self.addresses.len();
        if found > MOST_ADDRESSES {
            return Err(StatusEncodeError::TooManyAddresses { found });
        }
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.started_ms.to_be_bytes());
        put(&mut bytes[NAME], self.service.as_bytes());
        let slots = bytes[ADDRESSES].chunks_exact_mut(4);
        for (slot, address) in slots.zip(&self.addresses) {
            slot.copy_from_slice(&address.octets());
        }
        put(&mut bytes[WORD], self.status.word().as_bytes());
        Ok(bytes)
    }

    /// The status in a datagram.
    ///
    /// # Errors
    /// What the bytes are instead.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatusError> {
        let found = bytes.len();
        // The version first: who sends another one may have another length as well.
        match bytes.first() {
            Some(&VERSION) if found == BYTES => {}
            Some(&VERSION) | None => return Err(StatusError::Length { found }),
            Some(&version) => return Err(StatusError::Version { found: version }),
        }
        let mut started_ms = [0; 8];
        started_ms.copy_from_slice(&bytes[1..9]);
        let service = core::str::from_utf8(until_zero(&bytes[NAME])).map_err(|error| {
            let valid = error.valid_up_to();
            StatusError::NameNotText { valid }
        })?;
        let addresses = bytes[ADDRESSES].chunks_exact(4);
        let addresses = addresses
            .map(|octets| Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
            .filter(|address| !address.is_unspecified());
        let status = match until_zero(&bytes[WORD]) {
            b"UP" => State::Up,
            b"DOWN" => State::Down,
            other => {
                let found = String::from_utf8_lossy(other).into_owned();
                return Err(StatusError::Word { found });
            }
        };
        Ok(Self {
            started_ms: i64::from_be_bytes(started_ms),
            service: service.into(),
            addresses: addresses.collect(),
            status,
        })
    }
}

/// Writes `value`, which is not longer, to the begin of `field`.
fn put(field: &mut [u8], value: &[u8]) {
    field
        .iter_mut()
        .zip(value)
        .for_each(|(to, from)| *to = *from);
}

fn until_zero(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}
