//! Which protocol version two sides speak.

use core::fmt;
use core::ops::RangeInclusive;

/// Oldest protocol version this build speaks.
pub const VERSION_OLDEST: u16 = 1;
/// Newest protocol version this build speaks.
pub const VERSION_NEWEST: u16 = 1;

/// Two sides have no protocol version in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "no common protocol version: this side speaks {}, the other {}; {}",
    Span(ours),
    Span(theirs),
    advice(ours, theirs)
)]
pub struct Incompatible {
    /// What this side speaks.
    pub ours: RangeInclusive<u16>,
    /// What the other side says it speaks.
    pub theirs: RangeInclusive<u16>,
}

/// The newest version both sides speak.
///
/// # Errors
/// [`Incompatible`] if there is none, also when one of the ranges is empty.
pub fn negotiate(
    ours: RangeInclusive<u16>,
    theirs: RangeInclusive<u16>,
) -> Result<u16, Incompatible> {
    let newest = *ours.end().min(theirs.end());
    if ours.contains(&newest) && theirs.contains(&newest) {
        Ok(newest)
    } else {
        Err(Incompatible { ours, theirs })
    }
}

struct Span<'a>(&'a RangeInclusive<u16>);

impl fmt::Display for Span<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (oldest, newest) if oldest > newest => {
                write!(f, "none (oldest {oldest}, newest {newest})")
            }
            (oldest, newest) if oldest == newest => write!(f, "{oldest}"),
            (oldest, newest) => write!(f, "{oldest} to {newest}"),
        }
    }
}

fn advice(ours: &RangeInclusive<u16>, theirs: &RangeInclusive<u16>) -> &'static str {
    if theirs.is_empty() || ours.is_empty() {
        "a greeting must name its oldest version first"
    } else if theirs.end() < ours.start() {
        "build the other side against a newer release"
    } else {
        "upgrade this side first"
    }
}
