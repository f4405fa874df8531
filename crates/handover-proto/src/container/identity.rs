//! Names of 16 random bytes. Distinct types, so that one cannot stand for another.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is no name: 32 hexadecimal digits were expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It is longer or shorter.
    #[error("{found} characters, expected 32 hexadecimal digits")]
    Length {
        /// How long it is, without dashes.
        found: usize,
    },
    /// It has another character.
    #[error("{found:?} is no hexadecimal digit")]
    Digit {
        /// Which.
        found: char,
    },
}

fn parse(text: &str) -> Result<[u8; 16], IdError> {
    let digits = || text.chars().filter(|c| *c != '-');
    let found = digits().count();
    if found != 32 {
        return Err(IdError::Length { found });
    }
    let mut bytes = [0; 16];
    for (at, c) in digits().enumerate() {
        let digit = c.to_digit(16).ok_or(IdError::Digit { found: c })?;
        // A digit is below 16.
        bytes[at / 2] = bytes[at / 2] << 4 | digit as u8;
    }
    Ok(bytes)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Sixteen bytes on the wire; 32 hexadecimal digits where people read.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // The alternative is what fits into a line beside others.
                let shown = if f.alternate() { &self.0[..4] } else { &self.0[..] };
                shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Dashes are skipped: the kernel writes its boot id with some.
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 16]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

name!(
    /// One instance, from its start to its end: drawn at random by each process.
    PeerId
);
name!(
    /// One kernel from boot to reboot: `/proc/sys/kernel/random/boot_id`. Containers on one device
    /// share it, two devices never do.
    BootId
);
name!(
    /// The file in a shared volume that numbers instances.
    RegisterId
);
name!(
    /// One attempt of an old instance to hand over, or the last question before it lets go. Nobody
    /// but who heard the question can name it.
    Attempt
);
