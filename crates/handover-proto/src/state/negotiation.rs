//! Which items cross, and in which version: a pure function of two manifests, so that both sides
//! come to the same answer by themselves.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::item::check;
use super::{ItemError, ItemSpec, Manifest, Need, VERSION_NEWEST, VERSION_OLDEST, Versions};
use crate::frame::{self, Incompatible};

/// An item that crosses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agreed {
    /// Its name.
    pub name: String,
    /// The highest version that the one writes and the other reads.
    pub version: u32,
    /// Required if it is on either side.
    pub need: Need,
}

/// Why a handover cannot be, as far as one item is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Mismatch {
    /// Both know it, in no common version.
    #[error(
        "item {name:?}: the incumbent writes version {writes}, the successor reads {reads}; \
         {}", advice(*writes, *reads)
    )]
    NoCommonVersion {
        /// The item.
        name: String,
        /// What the incumbent writes.
        writes: Versions,
        /// What the successor reads.
        reads: Versions,
    },
    /// The incumbent must not lose it and the successor does not know it.
    #[error(
        "item {name:?}: the incumbent writes version {writes} and must not lose it, \
         the successor reads none; teach the new version to read it, or to drop it by name"
    )]
    NotRead {
        /// The item.
        name: String,
        /// What the incumbent writes.
        writes: Versions,
    },
    /// The successor needs it and the incumbent does not know it.
    #[error(
        "item {name:?}: the incumbent writes none, the successor reads version {reads} and \
         cannot do without; make it best effort for this upgrade"
    )]
    NotWritten {
        /// The item.
        name: String,
        /// What the successor reads.
        reads: Versions,
    },
    /// The incumbent's list is none.
    #[error("the incumbent's manifest: {error}")]
    BadWrites {
        /// What is wrong with it.
        error: ItemError,
    },
    /// The successor's list is none.
    #[error("the successor's manifest: {error}")]
    BadReads {
        /// What is wrong with it.
        error: ItemError,
    },
}

fn advice(writes: Versions, reads: Versions) -> &'static str {
    if writes.newest < reads.oldest {
        "upgrade by way of a version in between, or let the new one read the older format too"
    } else {
        "the new version is older than what it would read; let it read the newer format first"
    }
}

/// What crosses from a program that `writes` to one that `reads`, in the order of `writes`: each
/// item in the highest version both know. An item that is best effort on both sides and has no
/// common version is silently left out.
///
/// # Errors
/// Every item that is required on either side and has no common version; a list that breaks the
/// rules of [`check`] (a name twice, for one) is the only mismatch then.
pub fn negotiate(writes: &[ItemSpec], reads: &[ItemSpec]) -> Result<Vec<Agreed>, Vec<Mismatch>> {
    let mut mismatches = Vec::new();
    mismatches.extend(
        check(writes)
            .err()
            .map(|error| Mismatch::BadWrites { error }),
    );
    mismatches.extend(check(reads).err().map(|error| Mismatch::BadReads { error }));
    if !mismatches.is_empty() {
        return Err(mismatches);
    }
    let mut readers: BTreeMap<&str, &ItemSpec> = reads
        .iter()
        .map(|item| (item.name.as_str(), item))
        .collect();
    let mut agreed = Vec::new();
    for writer in writes {
        match settle(writer, readers.remove(writer.name.as_str())) {
            Ok(item) => agreed.extend(item),
            Err(mismatch) => mismatches.push(mismatch),
        }
    }
    let unwritten = reads
        .iter()
        .filter(|item| item.need == Need::Required && readers.contains_key(item.name.as_str()));
    mismatches.extend(unwritten.map(|item| Mismatch::NotWritten {
        name: item.name.clone(),
        reads: item.span(),
    }));
    if mismatches.is_empty() {
        Ok(agreed)
    } else {
        Err(mismatches)
    }
}

fn settle(writer: &ItemSpec, reader: Option<&ItemSpec>) -> Result<Option<Agreed>, Mismatch> {
    let name = || writer.name.clone();
    let Some(reader) = reader else {
        return match writer.need {
            Need::BestEffort => Ok(None),
            Need::Required => Err(Mismatch::NotRead {
                name: name(),
                writes: writer.span(),
            }),
        };
    };
    let need = writer.need.max(reader.need);
    match (writer.span().highest_common(reader.span()), need) {
        (Some(version), need) => Ok(Some(Agreed {
            name: name(),
            version,
            need,
        })),
        (None, Need::BestEffort) => Ok(None),
        (None, Need::Required) => Err(Mismatch::NoCommonVersion {
            name: name(),
            writes: writer.span(),
            reads: reader.span(),
        }),
    }
}

/// What two manifests agree on: everything both sides need to know before the first item.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// The version of the channel, for the header of every later frame.
    pub version: u16,
    /// The items that cross.
    pub items: Vec<Agreed>,
}

impl Terms {
    /// The terms between an incumbent's manifest and a successor's. Both sides come to the same.
    ///
    /// # Errors
    /// [`Disagreement`], in words fit for [`Frame::Refused`](super::Frame::Refused) and for
    /// [`FromInstance::Failed`](crate::message::FromInstance::Failed).
    pub fn between(writes: &Manifest, reads: &Manifest) -> Result<Self, Disagreement> {
        let version = frame::negotiate(writes.oldest..=writes.newest, reads.oldest..=reads.newest)?;
        if !(VERSION_OLDEST..=VERSION_NEWEST).contains(&version) {
            let ours = VERSION_OLDEST..=VERSION_NEWEST;
            let theirs = version..=version;
            return Err(Incompatible { ours, theirs }.into());
        }
        let items = negotiate(&writes.items, &reads.items)
            .map_err(|mismatches| Disagreement::Items { mismatches })?;
        Ok(Self { version, items })
    }
}

/// Why two sides cannot exchange state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Disagreement {
    /// They have no version of the state channel in common.
    #[error("state channel: {0}")]
    Version(#[from] Incompatible),
    /// Items that must cross cannot.
    #[error("state cannot cross: {}", Lines(mismatches))]
    Items {
        /// One for each of them.
        mismatches: Vec<Mismatch>,
    },
}

struct Lines<'a>(&'a [Mismatch]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mismatch) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{mismatch}")?;
        }
        Ok(())
    }
}
