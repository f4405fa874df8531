//! An item that arrived.

use std::io::{self, Read};
use std::sync::OnceLock;

use handover_proto::state::{Part, Piece, Received};
use handover_sys::memfd::{Mapped, SealedMemfd};
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::StateError;

/// An item that arrived. Its memory is mapped when it is read first, and verified then where its
/// writer made a checksum; small items were verified when they arrived.
#[derive(Debug)]
pub struct Item {
    received: Received<SealedMemfd>,
    /// The content in one piece, once somebody has asked for it.
    whole: OnceLock<Whole>,
}

#[derive(Debug)]
enum Whole {
    Mapped(Mapped),
    Joined(Vec<u8>),
}

/// A piece that can be read.
#[derive(Debug)]
enum Content<'item> {
    Borrowed(&'item [u8]),
    Mapped(Mapped),
}

impl AsRef<[u8]> for Content<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Mapped(mapped) => mapped,
        }
    }
}

impl Item {
    pub(super) const fn new(received: Received<SealedMemfd>) -> Self {
        Self {
            received,
            whole: OnceLock::new(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.received.name
    }

    /// The version of its format: the highest that both sides know.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.received.version
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.received.length
    }

    /// Whether it has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.received.length == 0
    }

    /// Its content: mapped, not copied, unless it was written as a stream of several segments.
    ///
    /// # Errors
    /// [`StateError::Memory`], [`StateError::Length`], [`StateError::Damaged`].
    pub fn bytes(&self) -> Result<&[u8], StateError> {
        if let [
            Piece {
                part: Part::Inline(bytes),
                ..
            },
        ] = &*self.received.pieces
        {
            return Ok(bytes);
        }
        if let Some(whole) = self.whole.get() {
            return Ok(whole);
        }
        let whole = self.make_whole()?;
        // If two threads did it, one of them did it for nothing.
        Ok(self.whole.get_or_init(|| whole))
    }

    fn make_whole(&self) -> Result<Whole, StateError> {
        if let [piece] = &*self.received.pieces
            && let Content::Mapped(mapped) = self.content(piece)?
        {
            return Ok(Whole::Mapped(mapped));
        }
        let length = usize::try_from(self.received.length).unwrap_or_default();
        let mut joined = Vec::with_capacity(length);
        for piece in &self.received.pieces {
            joined.extend_from_slice(self.content(piece)?.as_ref());
        }
        Ok(Whole::Joined(joined))
    }

    /// A value from its [postcard](https://docs.rs/postcard) form, as written by
    /// [`StateWriter::put_value`](super::StateWriter::put_value).
    ///
    /// # Errors
    /// As [`Item::bytes`], and [`StateError::Value`].
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, StateError> {
        postcard::from_bytes(self.bytes()?).map_err(|source| StateError::Value {
            name: self.name().to_owned(),
            source,
        })
    }

    /// Reads it from its begin, one segment in memory at a time; each is verified before its first
    /// byte is given. Errors hold a [`StateError`].
    #[must_use]
    pub const fn reader(&self) -> ItemReader<'_> {
        ItemReader {
            item: self,
            next: 0,
            current: Content::Borrowed(&[]),
            read: 0,
        }
    }

    /// Verifies all of it now.
    ///
    /// # Errors
    /// As [`Item::bytes`].
    pub fn verify(&self) -> Result<(), StateError> {
        for piece in &self.received.pieces {
            self.content(piece)?;
        }
        Ok(())
    }

    /// A piece, verified.
    fn content<'item>(
        &self,
        piece: &'item Piece<SealedMemfd>,
    ) -> Result<Content<'item>, StateError> {
        let memory = match &piece.part {
            // The assembly has verified it.
            Part::Inline(bytes) => return Ok(Content::Borrowed(bytes)),
            Part::Descriptor(memory) => memory,
        };
        let name = || self.name().to_owned();
        if memory.len() != piece.length {
            return Err(StateError::Length {
                name: name(),
                expected: piece.length,
                found: memory.len(),
            });
        }
        let mapped = memory.map().map_err(|source| StateError::Memory {
            name: name(),
            source,
        })?;
        if let Some(expected) = piece.checksum {
            let found = xxh3_64(&mapped);
            if found != expected {
                return Err(StateError::Damaged {
                    name: name(),
                    expected,
                    found,
                });
            }
        }
        Ok(Content::Mapped(mapped))
    }
}

impl std::ops::Deref for Whole {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapped) => mapped,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// Reads an [`Item`] from its begin. From [`Item::reader`].
#[derive(Debug)]
pub struct ItemReader<'item> {
    item: &'item Item,
    next: usize,
    current: Content<'item>,
    read: usize,
}

impl Read for ItemReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.current.as_ref().get(self.read..).unwrap_or_default();
            if !rest.is_empty() || buffer.is_empty() {
                let length = rest.len().min(buffer.len());
                for (to, from) in buffer.iter_mut().zip(rest) {
                    *to = *from;
                }
                self.read += length;
                return Ok(length);
            }
            let Some(piece) = self.item.received.pieces.get(self.next) else {
                return Ok(0);
            };
            self.current = self.item.content(piece).map_err(io::Error::other)?;
            self.next += 1;
            self.read = 0;
        }
    }
}
