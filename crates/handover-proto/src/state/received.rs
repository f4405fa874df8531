//! What has arrived.

use alloc::string::String;
use alloc::vec::Vec;

use super::{MAX_ITEMS, Need};

/// Where content is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part<D> {
    /// Here.
    Inline(Vec<u8>),
    /// In what this names.
    Descriptor(D),
}

/// A contiguous part of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Piece<D> {
    /// Its content.
    pub part: Part<D>,
    /// Bytes of its content. For a descriptor this is what the sender says; check the object.
    pub length: u64,
    /// xxh3-64 of its content. Of an inline part it was verified; of a descriptor, verify it when
    /// the content is read first. Absent only for a descriptor whose writer made none.
    pub checksum: Option<u64>,
}

/// An item, whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Received<D> {
    /// Its name.
    pub name: String,
    /// The version of its format.
    pub version: u32,
    /// Whether the handover fails if it turns out to be damaged.
    pub need: Need,
    /// Bytes of all pieces.
    pub length: u64,
    /// Its content in order: one piece, or as many as its stream had segments.
    pub pieces: Vec<Piece<D>>,
}

/// The most a receiver holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Bytes of all items of base and delta together.
    pub bytes: u64,
    /// Items of base and delta together.
    pub items: u64,
}

impl Default for Budget {
    /// 64 GiB, of which the kernel's memory limits leave what there is, in as many items as two
    /// manifests can have.
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            items: 2 * MAX_ITEMS as u64,
        }
    }
}

/// What a frame completed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Arrival<D> {
    /// Nothing yet.
    More,
    /// A best-effort item was damaged and is left out.
    LeftOut {
        /// Its name.
        name: String,
    },
    /// The base; empty if the incumbent wrote none.
    Base(Vec<Received<D>>),
    /// The delta, and the verdict: all that is required was in it or in the base.
    Complete(Vec<Received<D>>),
}
