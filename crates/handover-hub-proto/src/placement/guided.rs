//! Children that are put on nodes by whoever starts them.
//!
//! Against ProcessHub 0.4.1: where a child is put is part of it
//! ([`Placing::Pinned`]) and so known to every node, not to those that saw it started.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::identity::{NodeId, NodeName, ProcessId};
use crate::spec::{ChildSpec, Placing};
use crate::view::Member;

/// Why children are not put where their starter wants them. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuideError {
    /// The hub is guided and it was not said where this child goes (`missing_child_mapping`).
    #[error("the hub is guided, and {process} has no nodes; say on which it runs")]
    Missing {
        /// Which.
        process: ProcessId,
    },
    /// It names no node, or one twice (`invalid_child_mapping`).
    #[error("the nodes of {process} are none or one of them twice")]
    Invalid {
        /// Which.
        process: ProcessId,
    },
    /// It names a node that is no member: what starts now must run somewhere.
    #[error("{process} should run on {node}, which is not a member")]
    Absent {
        /// Which.
        process: ProcessId,
        /// Where it should run.
        node: NodeName,
    },
    /// It says where a child goes that is not started with it (`child_mapping_mismatch`).
    #[error("there are nodes for {process}, which is not among the children")]
    Mismatch {
        /// Which.
        process: ProcessId,
    },
    /// A child has more or fewer nodes than replicas (`child_replication_mismatch`).
    #[error("{process} has {expected} replicas, and {found} nodes to run on")]
    Replication {
        /// Which.
        process: ProcessId,
        /// Its replicas.
        expected: usize,
        /// Its nodes.
        found: usize,
    },
}

/// Puts children on the nodes that a map names; the others stay as they are.
///
/// # Errors
///
/// [`GuideError::Mismatch`] if the map names a child that is not there.
pub fn pin(
    children: &mut [ChildSpec],
    map: BTreeMap<ProcessId, Vec<NodeName>>,
) -> Result<(), GuideError> {
    let mut places: BTreeMap<&ProcessId, usize> = BTreeMap::new();
    for (at, child) in children.iter().enumerate() {
        places.insert(&child.id, at);
    }
    let mut pinned = Vec::new();
    for (process, nodes) in map {
        match places.get(&process) {
            Some(at) => pinned.push((*at, nodes)),
            None => return Err(GuideError::Mismatch { process }),
        }
    }
    for (at, nodes) in pinned {
        children[at].placing = Placing::Pinned(nodes);
    }
    Ok(())
}

/// Checks where a child of so many replicas that is started now should go: one of a guided hub must
/// be pinned, one of another may be.
///
/// # Errors
///
/// All of [`GuideError`] but [`Mismatch`](GuideError::Mismatch).
pub fn check(
    child: &ChildSpec,
    guided: bool,
    expected: usize,
    is_member: impl Fn(&NodeName) -> bool,
) -> Result<(), GuideError> {
    let process = || child.id.clone();
    let nodes = match &child.placing {
        Placing::Pinned(nodes) => nodes,
        Placing::Strategy if guided => return Err(GuideError::Missing { process: process() }),
        Placing::Strategy => return Ok(()),
    };
    let twice = |(at, node)| nodes[..at].contains(node);
    if nodes.is_empty() || nodes.iter().enumerate().any(twice) {
        return Err(GuideError::Invalid { process: process() });
    }
    for node in nodes {
        if !is_member(node) {
            return Err(GuideError::Absent {
                process: process(),
                node: node.clone(),
            });
        }
    }
    if nodes.len() != expected {
        return Err(GuideError::Replication {
            process: process(),
            expected,
            found: nodes.len(),
        });
    }
    Ok(())
}

/// The members of these names, in this order; without those that are not there. Of several with
/// one name the one that joined last.
#[must_use]
pub fn named(nodes: &[NodeName], members: &[Member]) -> Vec<NodeId> {
    let newest = |name: &NodeName| {
        let bears = members.iter().filter(|member| member.name == *name);
        bears.max_by_key(|m| (m.joined_ms, m.id)).map(|m| m.id)
    };
    nodes.iter().filter_map(newest).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec;

    use super::*;
    use crate::identity::KindName;
    use crate::redundancy::{Factor, Model, Redundancy, Signal};
    use crate::view::{Load, Standing};

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn id(text: &str) -> ProcessId {
        ProcessId::new(text).unwrap()
    }

    fn child(text: &str) -> ChildSpec {
        ChildSpec::new(KindName::new("k").unwrap(), id(text))
    }

    fn pinned(nodes: &[&str]) -> ChildSpec {
        let mut child = child("c");
        child.placing = Placing::Pinned(nodes.iter().map(|node| name(node)).collect());
        child
    }

    fn members() -> Vec<Member> {
        ["a", "b", "c"]
            .iter()
            .zip(1..)
            .map(|(text, n)| Member {
                id: NodeId(n),
                name: name(text),
                address: String::new(),
                weight: 100,
                version: String::new(),
                joined_ms: n,
                standing: Standing::Serving,
                load: Load::default(),
            })
            .collect()
    }

    #[test]
    fn each_mistake_has_its_error() {
        let process = id("c");
        let twice = Redundancy::Replicated {
            factor: Factor::Nodes(2),
            model: Model::ActiveActive,
            signal: Signal::None,
            state: false,
        };
        let check = |child: &ChildSpec, guided, redundancy: &Redundancy| {
            let members = members();
            let expected = redundancy.replicas(members.len());
            super::check(child, guided, expected, |name| {
                members.iter().any(|member| member.name == *name)
            })
        };
        let single = &Redundancy::Single;
        assert_eq!(
            check(&child("c"), true, single),
            Err(GuideError::Missing {
                process: process.clone()
            })
        );
        assert_eq!(check(&child("c"), false, single), Ok(()));
        for nodes in [&[][..], &["a", "a"]] {
            let invalid = GuideError::Invalid {
                process: process.clone(),
            };
            assert_eq!(check(&pinned(nodes), true, &twice), Err(invalid));
        }
        assert_eq!(
            check(&pinned(&["z"]), true, single),
            Err(GuideError::Absent {
                process: process.clone(),
                node: name("z")
            })
        );
        assert_eq!(
            check(&pinned(&["a"]), false, &twice),
            Err(GuideError::Replication {
                process,
                expected: 2,
                found: 1
            })
        );
        assert_eq!(check(&pinned(&["b", "a"]), true, &twice), Ok(()));
    }

    #[test]
    fn a_map_pins_the_children_it_names_or_none() {
        let mut children = vec![child("x"), child("y")];
        let before = children.clone();
        let map = |ids: &[&str]| ids.iter().map(|text| (id(text), vec![name("a")])).collect();
        assert_eq!(
            pin(&mut children, map(&["x", "z"])),
            Err(GuideError::Mismatch { process: id("z") })
        );
        assert_eq!(children, before);
        pin(&mut children, map(&["y"])).unwrap();
        assert_eq!(children[0], before[0]);
        assert_eq!(children[1].placing, Placing::Pinned(vec![name("a")]));
    }

    #[test]
    fn names_mean_the_nodes_that_bear_them_now() {
        let mut members = members();
        let mut again = members[0].clone();
        (again.id, again.joined_ms) = (NodeId(9), 9);
        members.push(again);
        let wanted = [name("b"), name("z"), name("a")];
        assert_eq!(named(&wanted, &members), [NodeId(2), NodeId(9)]);
    }
}
