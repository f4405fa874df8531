//! What is to be started, as a user writes it.

use handover_hub_proto::identity::{KindName, NodeName, ProcessId};
use handover_hub_proto::spec::{ChildSpec as Checked, Metadata, Placing, Restart};
use serde::Serialize;

use crate::error::ChildError;

/// A child to be: its kind, its id, its argument, and how it is kept.
///
/// Whatever is wrong with it is said when it is started.
///
/// ```
/// use handover_hub::child::{ChildSpec, tag};
///
/// let child = ChildSpec::new("session", "alice").argument(&100_i64).metadata(tag("eu"));
/// assert!(child.check().is_ok());
/// assert!(ChildSpec::new("session", "").check().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct ChildSpec(Result<Checked, ChildError>);

/// Metadata with a tag alone.
#[must_use]
pub fn tag(tag: &str) -> Metadata {
    Metadata {
        tag: Some(tag.to_owned()),
        ..Metadata::default()
    }
}

impl ChildSpec {
    /// A child with neither argument nor metadata, placed by the hub's strategy, always restarted.
    #[must_use]
    pub fn new(kind: &str, id: &str) -> Self {
        Self(match (KindName::new(kind), ProcessId::new(id)) {
            (Ok(kind), Ok(id)) => Ok(Checked::new(kind, id)),
            (Err(error), _) | (_, Err(error)) => Err(ChildError::Name(error)),
        })
    }

    /// What [`Process::start`](crate::process::Process::start) is given; nothing, unless set, which
    /// only `()` is read from.
    #[must_use]
    pub fn argument<T: Serialize + ?Sized>(self, argument: &T) -> Self {
        Self(
            self.0
                .and_then(|child| match postcard::to_allocvec(argument) {
                    Ok(bytes) => Ok(Checked {
                        argument: bytes.into(),
                        ..child
                    }),
                    Err(source) => Err(ChildError::Argument {
                        process: child.id,
                        source,
                    }),
                }),
        )
    }

    /// For people and for queries. Replaces what was set before.
    #[must_use]
    pub fn metadata(self, metadata: Metadata) -> Self {
        Self(self.0.map(|child| Checked { metadata, ..child }))
    }

    /// When it is started again on its node after it ended by itself.
    #[must_use]
    pub fn restart(self, restart: Restart) -> Self {
        Self(self.0.map(|child| Checked { restart, ..child }))
    }

    /// Runs on these nodes and no others, one for each replica.
    #[must_use]
    pub fn pinned<'a>(self, nodes: impl IntoIterator<Item = &'a str>) -> Self {
        let nodes: Result<Vec<_>, _> = nodes.into_iter().map(NodeName::new).collect();
        Self(self.0.and_then(|child| match nodes {
            Ok(nodes) => Ok(Checked {
                placing: Placing::Pinned(nodes),
                ..child
            }),
            Err(error) => Err(ChildError::Name(error)),
        }))
    }

    /// What a hub is told.
    ///
    /// # Errors
    ///
    /// [`ChildError`]: the first of its parts that is wrong.
    pub fn check(self) -> Result<Checked, ChildError> {
        self.0
    }
}

impl From<Checked> for ChildSpec {
    fn from(child: Checked) -> Self {
        Self(Ok(child))
    }
}
