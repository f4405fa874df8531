//! The peer datagram of `handover-lib` (npm 0.0.10 and repository 0.2.3, `HandoverPeer`): nine bytes.
//!
//! | bytes | value |
//! |---|---|
//! | 0 | [`VERSION`] |
//! | 1..9 | start time of the sender, signed, big-endian, milliseconds since the Unix epoch |
//!
//! It names no service and nobody vouches for it: whoever started later by its own word is younger.

/// First byte. Theirs throws on any other.
pub const VERSION: u8 = 1;

/// Length of a datagram.
pub const BYTES: usize = 9;

/// Why a datagram is not a legacy announcement. Theirs ends its process on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum LegacyError {
    /// It has another length.
    #[error("{found} bytes, a legacy announcement has {BYTES}")]
    Length {
        /// What it has.
        found: usize,
    },
    /// It is of another version.
    #[error("version {found}, legacy announcements have {VERSION}")]
    Version {
        /// The version in the first byte.
        found: u8,
    },
}

/// The datagram of an instance that started `started_ms` milliseconds after the Unix epoch.
#[must_use]
pub fn encode(started_ms: i64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[0] = VERSION;
    bytes[1..].copy_from_slice(&started_ms.to_be_bytes());
    bytes
}

/// When the sender of a datagram started, milliseconds since the Unix epoch by its own clock.
///
/// # Errors
/// What the bytes are instead.
pub fn decode(bytes: &[u8]) -> Result<i64, LegacyError> {
    let found = bytes.len();
    let (version, time) = bytes.split_first().ok_or(LegacyError::Length { found })?;
    let time = <[u8; 8]>::try_from(time).map_err(|_| LegacyError::Length { found })?;
    if *version != VERSION {
        return Err(LegacyError::Version { found: *version });
    }
    Ok(i64::from_be_bytes(time))
}
