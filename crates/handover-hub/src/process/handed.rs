//! A state on its way.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The state of a process between two nodes, or two versions of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handed {
    schema: u32,
    bytes: Bytes,
}

/// Why a state is not written or read.
#[derive(Debug, thiserror::Error)]
pub enum HandedError {
    /// Its type cannot be written: serde refused.
    #[error("the state cannot be written in version {schema}: {source}")]
    Encode {
        /// The version that was wanted.
        schema: u32,
        /// Why.
        source: postcard::Error,
    },
    /// It is not what its reader expects.
    #[error("a state of version {schema} and {length} bytes cannot be read: {source}")]
    Decode {
        /// Its version.
        schema: u32,
        /// Its size, in bytes.
        length: usize,
        /// Why.
        source: postcard::Error,
    },
    /// It has more bytes than its reader took: another type wrote it.
    #[error("a state of version {schema} has {left} bytes more than its reader expects")]
    Longer {
        /// Its version.
        schema: u32,
        /// Bytes that nobody read.
        left: usize,
    },
}

impl Handed {
    /// A state that its process encoded in its own way.
    #[must_use]
    pub fn new(schema: u32, bytes: impl Into<Bytes>) -> Self {
        Self {
            schema,
            bytes: bytes.into(),
        }
    }

    /// A state encoded by serde, as postcard.
    ///
    /// # Errors
    ///
    /// [`HandedError::Encode`] if serde refuses.
    pub fn encode<T: Serialize + ?Sized>(schema: u32, state: &T) -> Result<Self, HandedError> {
        match postcard::to_allocvec(state) {
            Ok(bytes) => Ok(Self::new(schema, bytes)),
            Err(source) => Err(HandedError::Encode { schema, source }),
        }
    }

    /// What [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`HandedError::Decode`] or [`HandedError::Longer`] if it is of another type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, HandedError> {
        let schema = self.schema;
        match postcard::take_from_bytes(&self.bytes) {
            Ok((state, [])) => Ok(state),
            Ok((_, rest)) => Err(HandedError::Longer {
                schema,
                left: rest.len(),
            }),
            Err(source) => Err(HandedError::Decode {
                schema,
                length: self.bytes.len(),
                source,
            }),
        }
    }

    /// The version of its contents.
    #[must_use]
    pub fn schema(&self) -> u32 {
        self.schema
    }

    /// Its contents.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}
