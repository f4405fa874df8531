//! The fields of a message, in postcard's wire format (specification 1.0): numbers wider than a
//! byte as LEB128, sequences behind their length, arrays bare. Written by hand so that nothing is
//! allocated by a length that has not arrived.

use alloc::string::String;
use alloc::vec::Vec;

use super::{FrameError, HandoffId};

/// Bits of a number in each byte of its form.
const GROUP: u32 = 7;

/// Most shards a message may list; a revision may take one byte on the wire and takes eight here.
const MAX_SHARDS: usize = 64 * 1024;

/// Most listeners a message may list; an empty name takes one byte on the wire and 24 here.
const MAX_LISTENERS: usize = 4096;

pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn number(&mut self, value: impl Into<u64>) {
        let mut rest = value.into();
        loop {
            let low = (rest & 0x7f) as u8;
            rest >>= GROUP;
            if rest == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.0.push(value.into());
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn array(&mut self, value: &[u8; 32]) {
        self.0.extend_from_slice(value);
    }

    /// A UUID is written as a sequence of bytes, with its length.
    pub(super) fn id(&mut self, value: HandoffId) {
        self.bytes(&value.0);
    }

    pub(super) fn numbers(&mut self, values: &[u64]) {
        self.number(values.len() as u64);
        for value in values {
            self.number(*value);
        }
    }

    pub(super) fn texts(&mut self, values: &[String]) {
        self.number(values.len() as u64);
        for value in values {
            self.bytes(value.as_bytes());
        }
    }
}

/// What is left of a message.
pub(super) struct Fields<'a> {
    pub(super) message: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        let message = "a message";
        Self { message, rest }
    }

    fn bad(&self, field: &'static str, expected: &'static str) -> FrameError {
        FrameError::BadValue {
            message: self.message,
            field,
            expected,
        }
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, FrameError> {
        let (first, rest) = self.rest.split_first().ok_or(FrameError::Cut {
            message: self.message,
            field,
        })?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number of at most `bits`.
    fn limited(
        &mut self,
        field: &'static str,
        bits: u32,
        expected: &'static str,
    ) -> Result<u64, FrameError> {
        let mut value = 0u64;
        for at in 0..bits.div_ceil(GROUP) {
            let byte = self.byte(field)?;
            let group = u64::from(byte & 0x7f);
            let shift = at * GROUP;
            // The last byte has room for what is left of `bits` only.
            if shift + GROUP > bits && group >> (bits - shift) != 0 {
                return Err(self.bad(field, expected));
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad(field, expected))
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, FrameError> {
        Ok(self.limited(field, u16::BITS, "u16")? as u16)
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, FrameError> {
        Ok(self.limited(field, u32::BITS, "u32")? as u32)
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, FrameError> {
        self.limited(field, u64::BITS, "u64")
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, FrameError> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad(field, "bool")),
        }
    }

    /// A length that has arrived: each element takes at least a byte.
    fn length(&mut self, field: &'static str) -> Result<usize, FrameError> {
        let announced = self.u64(field)?;
        match usize::try_from(announced) {
            Ok(length) if length <= self.rest.len() => Ok(length),
            _ => Err(FrameError::Cut {
                message: self.message,
                field,
            }),
        }
    }

    fn count(&mut self, field: &'static str, allowed: usize) -> Result<usize, FrameError> {
        let found = self.length(field)?;
        if found > allowed {
            return Err(FrameError::TooMany {
                message: self.message,
                field,
                allowed,
                found,
            });
        }
        Ok(found)
    }

    pub(super) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], FrameError> {
        let length = self.length(field)?;
        let (value, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(value)
    }

    pub(super) fn array(&mut self, field: &'static str) -> Result<[u8; 32], FrameError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(FrameError::Cut {
            message: self.message,
            field,
        })?;
        self.rest = rest;
        Ok(*value)
    }

    pub(super) fn id(&mut self) -> Result<HandoffId, FrameError> {
        let field = "handoff_id";
        let bytes = self.bytes(field)?;
        let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| self.bad(field, "UUID"))?;
        Ok(HandoffId(bytes))
    }

    pub(super) fn text(&mut self, field: &'static str) -> Result<String, FrameError> {
        let bytes = self.bytes(field)?;
        match core::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(self.bad(field, "UTF-8")),
        }
    }

    pub(super) fn numbers(&mut self, field: &'static str) -> Result<Vec<u64>, FrameError> {
        let length = self.count(field, MAX_SHARDS)?;
        (0..length).map(|_| self.u64(field)).collect()
    }

    pub(super) fn texts(&mut self, field: &'static str) -> Result<Vec<String>, FrameError> {
        let length = self.count(field, MAX_LISTENERS)?;
        (0..length).map(|_| self.text(field)).collect()
    }
}
