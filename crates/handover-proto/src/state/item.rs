//! Items by name: what a program writes or reads, and in which versions.

use alloc::string::String;
use core::fmt;
use core::ops::RangeInclusive;
use serde::{Deserialize, Serialize};

use super::{MAX_ITEMS, MAX_NAME};

/// Whether a handover may go on without an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Without it the service is slower or colder, not wrong: a cache.
    BestEffort,
    /// Without it the handover fails, and the incumbent serves on.
    Required,
}

/// An item as a program's version knows it.
///
/// ```
/// use handover_proto::state::{ItemSpec, Need};
///
/// let sessions = ItemSpec::required("sessions").versions(1..=3);
/// assert_eq!((sessions.oldest, sessions.newest), (1, 3));
/// assert_eq!(ItemSpec::best_effort("cache").need, Need::BestEffort);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemSpec {
    /// Its name, unique within a manifest; 1 to [`MAX_NAME`] bytes without control characters.
    pub name: String,
    /// Oldest version of its format that can be written, or read.
    pub oldest: u32,
    /// Newest version of its format that can be written, or read.
    pub newest: u32,
    /// Whether it must cross.
    pub need: Need,
}

impl ItemSpec {
    /// An item without which nothing may be handed over, in version 1 only.
    #[must_use]
    pub fn required(name: impl Into<String>) -> Self {
        Self::new(name, Need::Required)
    }

    /// An item that may be left behind, in version 1 only.
    #[must_use]
    pub fn best_effort(name: impl Into<String>) -> Self {
        Self::new(name, Need::BestEffort)
    }

    /// The same in these versions of its format.
    #[must_use]
    pub fn versions(self, versions: RangeInclusive<u32>) -> Self {
        let (oldest, newest) = versions.into_inner();
        Self {
            oldest,
            newest,
            ..self
        }
    }

    fn new(name: impl Into<String>, need: Need) -> Self {
        Self {
            name: name.into(),
            oldest: 1,
            newest: 1,
            need,
        }
    }

    /// Its versions, to compare and to print.
    #[must_use]
    pub const fn span(&self) -> Versions {
        Versions {
            oldest: self.oldest,
            newest: self.newest,
        }
    }
}

/// Versions of an item's format, both ends included. Prints as `3` or `1 to 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// The first.
    pub oldest: u32,
    /// The last.
    pub newest: u32,
}

impl Versions {
    /// The highest version both have.
    #[must_use]
    pub fn highest_common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest && newest >= other.oldest).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "{}", self.oldest)
        } else {
            write!(f, "{} to {}", self.oldest, self.newest)
        }
    }
}

/// Why a list of items is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ItemError {
    /// There are too many.
    #[error("{found} items, at most {MAX_ITEMS} are allowed; put many things into one item")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// One has no name.
    #[error("item {position} has no name; an item is known by its name")]
    NoName {
        /// Which, counted from 0.
        position: usize,
    },
    /// A name is too long.
    #[error("an item's name has {found} bytes, at most {MAX_NAME} are allowed: {name:?}")]
    LongName {
        /// The name.
        name: String,
        /// Its length in bytes.
        found: usize,
    },
    /// A name has a control character.
    #[error("the name {name:?} has the control character {found:?}; use printable ones")]
    BadCharacter {
        /// The name.
        name: String,
        /// The character.
        found: char,
    },
    /// Its oldest version is newer than its newest.
    #[error("item {name:?} has versions {oldest} to {newest}; name the oldest first")]
    NoVersions {
        /// The name.
        name: String,
        /// Said to be the oldest.
        oldest: u32,
        /// Said to be the newest.
        newest: u32,
    },
    /// A name comes twice.
    #[error("item {name:?} comes twice; give each item a name of its own")]
    Twice {
        /// The name.
        name: String,
    },
}

/// Checks a manifest against the limits of this module and for names that come twice.
///
/// # Errors
/// The first rule that is broken.
pub fn check(items: &[ItemSpec]) -> Result<(), ItemError> {
    if items.len() > MAX_ITEMS {
        let found = items.len();
        return Err(ItemError::TooMany { found });
    }
    let mut names = alloc::collections::BTreeSet::new();
    for (position, item) in items.iter().enumerate() {
        check_one(position, item)?;
        if !names.insert(item.name.as_str()) {
            let name = item.name.clone();
            return Err(ItemError::Twice { name });
        }
    }
    Ok(())
}

fn check_one(position: usize, item: &ItemSpec) -> Result<(), ItemError> {
    let name = || item.name.clone();
    if item.name.is_empty() {
        return Err(ItemError::NoName { position });
    }
    if item.name.len() > MAX_NAME {
        let found = item.name.len();
        return Err(ItemError::LongName {
            name: name(),
            found,
        });
    }
    if let Some(found) = item.name.chars().find(|c| c.is_control()) {
        return Err(ItemError::BadCharacter {
            name: name(),
            found,
        });
    }
    if item.oldest > item.newest {
        return Err(ItemError::NoVersions {
            name: name(),
            oldest: item.oldest,
            newest: item.newest,
        });
    }
    Ok(())
}
