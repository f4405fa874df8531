//! Claims as text, for the key-values of a gossip library.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::identity::{NodeId, ShardId, Term};
use crate::view::Owner;

/// Shards that are published under one key: a change of one sends the others of its segment again,
/// about a hundred bytes, and not all that its owner has.
pub const SEGMENT: u16 = 256;

/// Longest text that is looked at, in bytes: 65,536 shards with a term of ten bytes each, and a node
/// each, and what base 64 adds.
const TEXT_MAX: usize = 4 << 20;

/// Why a text is no list of claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// It is too long.
    #[error("claims have at most {TEXT_MAX} bytes, these have {found}")]
    TooLong {
        /// Its length, in bytes.
        found: usize,
    },
    /// It is no base 64.
    #[error("claims are no base 64")]
    Base64,
    /// It is cut short, or something else.
    #[error("claims cannot be read: {0}")]
    Malformed(postcard::Error),
    /// It names a shard that this hub does not have.
    #[error("claims name shard {found}, of a hub with {shards}")]
    Shard {
        /// How many there are.
        shards: u16,
        /// Which it names.
        found: u32,
    },
    /// A node has more shards than terms, or the other way round.
    #[error("claims of {shards} shards have {terms} terms")]
    Count {
        /// Its shards.
        shards: usize,
        /// Their terms.
        terms: usize,
    },
}

/// What one node owns.
#[derive(Serialize, Deserialize)]
struct Share {
    node: NodeId,
    shards: Set,
    terms: Terms,
}

/// Shards in ascending order, whichever way is shorter.
#[derive(Serialize, Deserialize)]
enum Set {
    /// How many are left out before each.
    Gaps(Vec<u16>),
    /// A bit for each, the lowest first, from this one on.
    Bits(u16, Vec<u8>),
}

/// A term for each shard.
#[derive(Serialize, Deserialize)]
enum Terms {
    /// This one, so many times; then the next.
    Runs(Vec<(u64, u16)>),
    /// What each has above the least, in so many bits, the lowest first.
    Packed {
        least: u64,
        width: u8,
        count: u16,
        bits: Vec<u8>,
    },
}

/// Writes claims. Of several claims to one shard the last counts.
///
/// A segment of one owner takes some 50 to 150 bytes: a bit for each shard, and for each shard it
/// owns as many bits as its terms lie apart.
#[must_use]
pub fn encode(claims: &[(ShardId, Owner)]) -> String {
    let mut nodes: BTreeMap<NodeId, BTreeMap<u16, u64>> = BTreeMap::new();
    let last: BTreeMap<ShardId, Owner> = claims.iter().copied().collect();
    for (shard, owner) in last {
        nodes
            .entry(owner.node)
            .or_default()
            .insert(shard.0, owner.term.0);
    }
    let shares: Vec<Share> = nodes
        .iter()
        .map(|(node, terms)| Share {
            node: *node,
            shards: shorter(gaps(terms), bits(terms)),
            terms: shorter(runs(terms), packed(terms)),
        })
        .collect();
    // Nothing in a share can fail to be written to a vector.
    STANDARD_NO_PAD.encode(postcard::to_allocvec(&shares).unwrap_or_default())
}

/// Reads claims of a hub with so many shards.
///
/// # Errors
///
/// [`TextError`] if it is anything else, or names a shard that the hub does not have.
pub fn decode(text: &str, shards: u16) -> Result<Vec<(ShardId, Owner)>, TextError> {
    if text.len() > TEXT_MAX {
        return Err(TextError::TooLong { found: text.len() });
    }
    let bytes = STANDARD_NO_PAD
        .decode(text)
        .map_err(|_| TextError::Base64)?;
    let shares: Vec<Share> = postcard::from_bytes(&bytes).map_err(TextError::Malformed)?;
    let mut claims = Vec::new();
    for share in shares {
        let set = share.shards.expand(shards)?;
        let terms = share.terms.expand(set.len())?;
        claims.extend(set.into_iter().zip(terms).map(|(shard, term)| {
            let node = share.node;
            (
                ShardId(shard),
                Owner {
                    node,
                    term: Term(term),
                },
            )
        }));
        if claims.len() > usize::from(shards) {
            return Err(TextError::Count {
                shards: usize::from(shards),
                terms: claims.len(),
            });
        }
    }
    Ok(claims)
}

fn shorter<T: Serialize>(one: T, other: T) -> T {
    let size = |value: &T| postcard::experimental::serialized_size(value).unwrap_or(usize::MAX);
    if size(&other) < size(&one) {
        other
    } else {
        one
    }
}

fn gaps(terms: &BTreeMap<u16, u64>) -> Set {
    let mut next = 0;
    let gaps = terms.keys().map(|shard| {
        let gap = shard - next;
        next = shard.saturating_add(1);
        gap
    });
    Set::Gaps(gaps.collect())
}

fn bits(terms: &BTreeMap<u16, u64>) -> Set {
    let first = terms.keys().next().copied().unwrap_or(0);
    let mut bits = Vec::new();
    for shard in terms.keys() {
        put(&mut bits, usize::from(shard - first), 1, 1);
    }
    Set::Bits(first, bits)
}

fn runs(terms: &BTreeMap<u16, u64>) -> Terms {
    let mut runs: Vec<(u64, u16)> = Vec::new();
    for term in terms.values() {
        match runs.last_mut() {
            Some((last, count)) if last == term && *count < u16::MAX => *count += 1,
            _ => runs.push((*term, 1)),
        }
    }
    Terms::Runs(runs)
}

fn packed(terms: &BTreeMap<u16, u64>) -> Terms {
    let least = terms.values().min().copied().unwrap_or(0);
    let most = terms.values().max().copied().unwrap_or(0);
    let width = (u64::BITS - (most - least).leading_zeros()) as usize;
    let Ok(count) = u16::try_from(terms.len()) else {
        return runs(terms);
    };
    let mut bits = alloc::vec![0; (terms.len() * width).div_ceil(8)];
    for (at, term) in terms.values().enumerate() {
        put(&mut bits, at * width, width, term - least);
    }
    Terms::Packed {
        least,
        width: width as u8,
        count,
        bits,
    }
}

/// Sets the bits of a number from a position on; those there are zero.
fn put(bits: &mut Vec<u8>, at: usize, width: usize, value: u64) {
    for bit in (0..width).filter(|bit| value >> bit & 1 == 1) {
        let at = at + bit;
        if bits.len() <= at / 8 {
            bits.resize(at / 8 + 1, 0);
        }
        bits[at / 8] |= 1 << (at % 8);
    }
}

/// The number from a position on; zero past the end.
fn get(bits: &[u8], at: usize, width: usize) -> u64 {
    let bit = |at: usize| {
        bits.get(at / 8)
            .map_or(0, |byte| u64::from(byte >> (at % 8) & 1))
    };
    (0..width).fold(0, |value, offset| value | bit(at + offset) << offset)
}

impl Set {
    fn expand(&self, shards: u16) -> Result<Vec<u16>, TextError> {
        let mut set = Vec::new();
        let mut push = |shard: u32| match u16::try_from(shard) {
            Ok(known) if known < shards => {
                set.push(known);
                Ok(())
            }
            _ => Err(TextError::Shard {
                shards,
                found: shard,
            }),
        };
        match self {
            Self::Gaps(gaps) => {
                let mut next = 0_u32;
                for gap in gaps {
                    push(next + u32::from(*gap))?;
                    next += u32::from(*gap) + 1;
                }
            }
            Self::Bits(first, bits) => {
                for (shard, byte) in (u32::from(*first)..).step_by(8).zip(bits) {
                    for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                        push(shard + bit)?;
                    }
                }
            }
        }
        Ok(set)
    }
}

impl Terms {
    /// The terms of so many shards.
    fn expand(&self, shards: usize) -> Result<Vec<u64>, TextError> {
        let terms = match self {
            Self::Runs(runs) => runs.iter().map(|(_, count)| usize::from(*count)).sum(),
            Self::Packed { count, .. } => usize::from(*count),
        };
        if terms != shards {
            return Err(TextError::Count { shards, terms });
        }
        Ok(match self {
            Self::Runs(runs) => runs
                .iter()
                .flat_map(|(term, count)| core::iter::repeat_n(*term, usize::from(*count)))
                .collect(),
            Self::Packed {
                least, width, bits, ..
            } => {
                let width = usize::from(*width).min(u64::BITS as usize);
                (0..terms)
                    .map(|at| least.saturating_add(get(bits, at * width, width)))
                    .collect()
            }
        })
    }
}
