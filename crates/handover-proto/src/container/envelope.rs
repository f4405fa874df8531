//! The bytes of version 3: one datagram, one message.
//!
//! | bytes | value |
//! |---|---|
//! | 0 | [`VERSION`] |
//! | 1 | flags: bit 0, a tag is there; others are zero |
//! | 2.. | [`Envelope`], postcard |
//! | last 32, with the flag | HMAC-SHA256 of all before |
//!
//! Who has a key takes tagged datagrams only, and compares tags in constant time; who has none
//! refuses tagged ones, since it could not tell a forged one. A datagram that is recorded and sent
//! again has a sequence number that was taken before.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::MAX_SERVICE;
use super::identity::PeerId;
use super::message::Message;
use super::order::Order;

/// First byte.
pub const VERSION: u8 = 3;

/// Longest datagram in bytes: what every IPv4 host accepts (RFC 791: 576), less the longest header
/// (60) and UDP's (8). None is fragmented.
pub const MAX_BYTES: usize = 508;

/// Length of a tag.
pub const TAG_BYTES: usize = 32;

/// Shortest key in bytes.
pub const MIN_KEY: usize = 16;

/// Longest key in bytes: more than anybody needs, and not a file that was named by mistake.
pub const MAX_KEY: usize = 1024;

const HEADER_BYTES: usize = 2;
const TAGGED: u8 = 1;

/// What one datagram says, and who says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Envelope {
    /// The service; at most [`MAX_SERVICE`] bytes.
    pub service: String,
    /// The sender.
    pub from: PeerId,
    /// Where the sender stands.
    pub order: Order,
    /// Grows with each datagram of the sender.
    pub sequence: u64,
    /// What it says.
    pub message: Message,
}

/// A secret that all instances of a service share.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyError {
    /// They are too few to be a secret.
    #[error("a key of {found} bytes can be guessed; at least {MIN_KEY} random bytes are needed")]
    Short {
        /// How many.
        found: usize,
    },
    /// They are so many that it must be something else.
    #[error("a key of {found} bytes; at most {MAX_KEY} are allowed; is it another file?")]
    Long {
        /// How many.
        found: usize,
    },
}

impl Key {
    /// The key of these bytes, as they are.
    ///
    /// # Errors
    /// Too few, or too many.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        match bytes.len() {
            found if found < MIN_KEY => Err(KeyError::Short { found }),
            found if found > MAX_KEY => Err(KeyError::Long { found }),
            found => match Hmac::new_from_slice(bytes) {
                Ok(mac) => Ok(Self(mac)),
                // HMAC itself takes a key of any length (RFC 2104).
                Err(_) => Err(KeyError::Long { found }),
            },
        }
    }

    fn mac(&self, signed: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(signed);
        mac
    }
}

/// Why a datagram cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SealError {
    /// The name of the service is empty or too long.
    #[error("a service's name has 1 to {MAX_SERVICE} bytes, this one {found}")]
    Service {
        /// Its length.
        found: usize,
    },
}

/// Why a datagram is refused. Nothing was changed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EnvelopeError {
    /// It cannot hold what a datagram of ours begins with.
    #[error("{found} bytes are no datagram of version {VERSION}")]
    Short {
        /// Its length.
        found: usize,
    },
    /// It is longer than any.
    #[error("{found} bytes, a datagram has at most {MAX_BYTES}")]
    Long {
        /// Its length.
        found: usize,
    },
    /// It is of another version.
    #[error("version {found}, this build speaks {VERSION}")]
    Version {
        /// The version in the first byte.
        found: u8,
    },
    /// It has flags that are not known.
    #[error("flags {found:#04x}, this build knows {TAGGED:#04x}; the sender is newer")]
    Flags {
        /// All its flags.
        found: u8,
    },
    /// It has no tag, and there is a key.
    #[error("the sender has no key, this instance has one; give both the same")]
    Untagged,
    /// It has a tag, and there is no key.
    #[error("the sender has a key, this instance has none; give both the same")]
    Tagged,
    /// The tag is not of this key.
    #[error("the sender's key is another one, or the datagram is forged")]
    Forged,
    /// What it holds is no envelope.
    #[error("its bytes are no message of version {VERSION}; the sender is faulty or newer")]
    Garbled,
    /// There are bytes after the envelope.
    #[error("{found} bytes after the message; the sender is faulty or newer")]
    Trailing {
        /// How many.
        found: usize,
    },
    /// The name of the service is empty or too long.
    #[error("a service's name has 1 to {MAX_SERVICE} bytes, this one {found}")]
    Service {
        /// Its length.
        found: usize,
    },
}

/// The datagram of an envelope, with a tag if there is a key. At most [`MAX_BYTES`].
///
/// # Errors
/// The name of the service has no room.
pub fn seal(envelope: &Envelope, key: Option<&Key>) -> Result<Vec<u8>, SealError> {
    let found = envelope.service.len();
    let bad = SealError::Service { found };
    if !(1..=MAX_SERVICE).contains(&found) {
        return Err(bad);
    }
    let flags = if key.is_some() { TAGGED } else { 0 };
    // The envelope has no part that cannot be written, and grows a vector.
    let begin = Vec::from([VERSION, flags]);
    let mut bytes = postcard::to_extend(envelope, begin).map_err(|_| bad)?;
    if let Some(key) = key {
        let tag = key.mac(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag);
    }
    Ok(bytes)
}

/// The envelope in a datagram, checked against the key.
///
/// # Errors
/// Why it is to be dropped.
pub fn open(bytes: &[u8], key: Option<&Key>) -> Result<Envelope, EnvelopeError> {
    let found = bytes.len();
    if found > MAX_BYTES {
        return Err(EnvelopeError::Long { found });
    }
    let [version, flags, rest @ ..] = bytes else {
        return Err(EnvelopeError::Short { found });
    };
    if *version != VERSION {
        return Err(EnvelopeError::Version { found: *version });
    }
    if flags & !TAGGED != 0 {
        return Err(EnvelopeError::Flags { found: *flags });
    }
    let body = match (flags & TAGGED != 0, key) {
        (false, None) => rest,
        (false, Some(_)) => return Err(EnvelopeError::Untagged),
        (true, None) => return Err(EnvelopeError::Tagged),
        (true, Some(key)) => {
            let (body, tag) = rest
                .split_last_chunk::<TAG_BYTES>()
                .ok_or(EnvelopeError::Short { found })?;
            let signed = &bytes[..HEADER_BYTES + body.len()];
            let mac = key.mac(signed);
            mac.verify_slice(tag).map_err(|_| EnvelopeError::Forged)?;
            body
        }
    };
    let (envelope, rest) =
        postcard::take_from_bytes::<Envelope>(body).map_err(|_| EnvelopeError::Garbled)?;
    if !rest.is_empty() {
        let found = rest.len();
        return Err(EnvelopeError::Trailing { found });
    }
    let found = envelope.service.len();
    if !(1..=MAX_SERVICE).contains(&found) {
        return Err(EnvelopeError::Service { found });
    }
    Ok(envelope)
}
