//! What a child is, in as few bytes as it takes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::identity::{KindName, ProcessId};
use crate::spec::{ChildSpec, Metadata, Placing, Restart};

/// A [`ChildSpec`] without its id, encoded by postcard: [`Head`], then [`Tail`]. Always can be
/// decoded: it was encoded here, or decoded once when it came from elsewhere.
#[derive(Clone)]
pub(super) enum Packed {
    /// A kind of seven bytes, an argument of eight, no metadata: 22 bytes.
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

/// What fits in place of a pointer and a length.
const SHORT: usize = 22;

/// What is read without decoding all.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    pub(super) kind: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) restart: Restart,
    pub(super) declared: bool,
}

/// The rest: where it runs, what it is started with, and its other metadata.
type Tail<P, A, F> = (P, A, F);

/// All of it, as it is read.
type Decoded<'a> = (Head<'a>, Tail<Placing, &'a [u8], BTreeMap<String, String>>);

impl Packed {
    pub(super) fn new(spec: &ChildSpec) -> Self {
        let head = Head {
            kind: spec.kind.as_str(),
            tag: spec.metadata.tag.as_deref(),
            restart: spec.restart,
            declared: spec.declared,
        };
        let tail: Tail<_, _, _> = (&spec.placing, &spec.argument, &spec.metadata.fields);
        // Nothing in it can fail to be written to a vector.
        let bytes = postcard::to_allocvec(&(head, tail)).unwrap_or_default();
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match (short.get_mut(..bytes.len()), u8::try_from(bytes.len())) {
            (Some(start), Ok(len)) => {
                start.copy_from_slice(bytes);
                Self::Short(len, short)
            }
            _ => Self::Long(bytes.into()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Long(bytes) => bytes,
        }
    }

    pub(super) fn head(&self) -> Head<'_> {
        postcard::take_from_bytes(self.bytes()).map_or_else(|_| Head::default(), |(head, _)| head)
    }

    pub(super) fn spec(&self, id: &ProcessId) -> ChildSpec {
        let (head, tail) = self.decode().unwrap_or_default();
        let (placing, argument, fields) = tail;
        ChildSpec {
            kind: KindName::trusted(head.kind),
            id: id.clone(),
            argument: argument.into(),
            metadata: Metadata {
                tag: head.tag.map(String::from),
                fields,
            },
            restart: head.restart,
            placing,
            declared: head.declared,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.bytes().len()
    }

    fn decode(&self) -> Result<Decoded<'_>, postcard::Error> {
        postcard::from_bytes(self.bytes())
    }

    fn check(&self) -> Result<(), String> {
        let said = |error: &dyn core::fmt::Display| alloc::format!("what a child is: {error}");
        let (head, _) = self.decode().map_err(|error| said(&error))?;
        KindName::check(head.kind).map_err(|error| said(&error))
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Packed {}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes())
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let packed = Self::from_bytes(&bytes);
        packed.check().map_err(serde::de::Error::custom)?;
        Ok(packed)
    }
}
