//! The inside of a frame.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{FrameError, LENGTH_BYTES};

/// A field's tag and length.
const FIELD_HEADER_BYTES: usize = 6;

/// A frame being written.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(version: u16, kind: u16) -> Self {
        let mut bytes = Vec::from([0; LENGTH_BYTES]);
        bytes.extend(version.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        Self { bytes }
    }

    pub(crate) fn field<T: Serialize>(&mut self, tag: u16, value: &T) {
        // Fails only for types that do not know their own length; the table has none.
        let value = postcard::to_allocvec(value).expect("a field's type has a postcard form");
        self.raw(tag, &value);
    }

    /// A field whose value is its bytes.
    pub(crate) fn raw(&mut self, tag: u16, value: &[u8]) {
        self.bytes.extend(tag.to_le_bytes());
        self.bytes.extend((value.len() as u32).to_le_bytes());
        self.bytes.extend(value);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = (self.bytes.len() - LENGTH_BYTES) as u32;
        self.bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        self.bytes
    }
}

/// The fields of a frame that was read, not yet their values.
pub(crate) struct Fields<'a> {
    message: &'static str,
    values: BTreeMap<u16, &'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Splits what follows a frame's header. Every field is checked for its bounds and for coming
    /// twice, whether its tag is known or not.
    pub(crate) fn parse(message: &'static str, bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut values = BTreeMap::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((&[tag @ .., l0, l1, l2, l3], after)) =
                rest.split_first_chunk::<FIELD_HEADER_BYTES>()
            else {
                return Err(FrameError::CutFieldHeader {
                    message,
                    expected: FIELD_HEADER_BYTES,
                    found: rest.len(),
                });
            };
            let tag = u16::from_le_bytes(tag);
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            let Some((value, after)) = after.split_at_checked(length as usize) else {
                return Err(FrameError::CutField {
                    message,
                    tag,
                    expected: length,
                    found: after.len(),
                });
            };
            if values.insert(tag, value).is_some() {
                return Err(FrameError::DuplicateField { message, tag });
            }
            rest = after;
        }
        Ok(Self { message, values })
    }

    pub(crate) fn required<T: DeserializeOwned>(
        &self,
        tag: u16,
        field: &'static str,
        expected: &'static str,
    ) -> Result<T, FrameError> {
        let message = self.message;
        self.value(tag, field, expected)?
            .ok_or(FrameError::MissingField { message, field })
    }

    pub(crate) fn defaulted<T: DeserializeOwned + Default>(
        &self,
        tag: u16,
        field: &'static str,
        expected: &'static str,
    ) -> Result<T, FrameError> {
        Ok(self.value(tag, field, expected)?.unwrap_or_default())
    }

    /// A field whose value is its bytes, if it is there.
    pub(crate) fn raw(&self, tag: u16) -> Option<&'a [u8]> {
        self.values.get(&tag).copied()
    }

    fn value<T: DeserializeOwned>(
        &self,
        tag: u16,
        field: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, FrameError> {
        let message = self.message;
        let Some(&bytes) = self.values.get(&tag) else {
            return Ok(None);
        };
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(Some(value)),
            Ok((_, rest)) => Err(FrameError::TrailingBytes {
                message,
                field,
                expected: bytes.len() - rest.len(),
                found: bytes.len(),
            }),
            Err(_) => Err(FrameError::BadValue {
                message,
                field,
                expected,
                found: bytes.len(),
            }),
        }
    }
}
