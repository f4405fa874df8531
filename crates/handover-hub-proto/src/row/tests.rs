use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::identity::{KindName, NodeName, Term};
use crate::spec::{Metadata, Placing, Restart};

fn host(node: u64, role: Role) -> Host {
    Host {
        node: NodeId(node),
        epoch: Epoch {
            term: Term(3),
            grant: node,
        },
        role,
        filled: true,
    }
}

fn any_spec() -> impl Strategy<Value = ChildSpec> {
    let tag = prop::option::of("[a-z]{0,9}");
    let fields = prop::collection::btree_map("[a-z]{1,5}", "[a-z]{0,5}", 0..3);
    let placing = prop::collection::vec("[a-z]{1,9}", 0..3);
    let argument = prop::collection::vec(any::<u8>(), 0..40);
    let names = ("[a-z]{1,63}", "[a-z0-9/-]{1,60}");
    (names, argument, tag, fields, placing, any::<bool>()).prop_map(
        |((kind, id), argument, tag, fields, placing, declared)| ChildSpec {
            kind: KindName::new(&kind).unwrap(),
            id: ProcessId::new(&id).unwrap(),
            argument: argument.into(),
            metadata: Metadata { tag, fields },
            restart: if declared {
                Restart::Transient
            } else {
                Restart::Permanent
            },
            placing: match placing.as_slice() {
                [] => Placing::Strategy,
                names => Placing::Pinned(
                    names
                        .iter()
                        .map(|name| NodeName::new(name).unwrap())
                        .collect(),
                ),
            },
            declared,
        },
    )
}

proptest! {
    #[test]
    fn a_row_is_what_it_was_made_of(spec in any_spec(), count in 0_u64..4) {
        let hosts: Vec<Host> = (0..count).map(|n| host(n, Role::Passive)).collect();
        let row = Row::new(&spec, &hosts);
        prop_assert_eq!(&*row.spec(), &spec);
        prop_assert_eq!(row.id(), &spec.id);
        prop_assert_eq!(row.kind(), spec.kind.as_str());
        prop_assert_eq!(row.tag(), spec.metadata.tag.as_deref());
        prop_assert_eq!(row.hosts(), &hosts[..]);
        let sent = postcard::to_allocvec(&row).unwrap();
        prop_assert_eq!(postcard::from_bytes::<Row>(&sent).unwrap(), row.clone());
        prop_assert!(row.size() + 32 >= sent.len());
        let other = row.with_hosts(&[host(9, Role::Active)]);
        prop_assert_eq!(other.spec(), row.spec());
        prop_assert_eq!(other.active(), Some(host(9, Role::Active)));
    }

    #[test]
    fn what_is_no_row_is_refused(spec in any_spec(), at: prop::sample::Index, byte: u8) {
        let mut sent = postcard::to_allocvec(&Row::new(&spec, &[])).unwrap();
        let at = at.index(sent.len());
        sent[at] = byte;
        if let Ok(row) = postcard::from_bytes::<Row>(&sent) {
            // Whatever it is, it can be read, and is the same when it is sent on.
            prop_assert_eq!(Row::new(row.spec(), row.hosts()).spec(), row.spec());
            prop_assert!(!row.kind().is_empty());
        }
        sent.truncate(at);
        prop_assert!(postcard::from_bytes::<Row>(&sent).is_err());
    }
}

#[test]
fn the_active_host_is_found() {
    let spec = ChildSpec::new(KindName::new("k").unwrap(), ProcessId::new("p").unwrap());
    let hosts = vec![
        host(1, Role::Passive),
        host(2, Role::Active),
        host(3, Role::Active),
    ];
    assert_eq!(Row::new(&spec, &hosts).active(), Some(hosts[1]));
    assert_eq!(Row::new(&spec, &hosts[..1]).active(), None);
    assert_eq!(Row::new(&spec, &[]).active(), None);
    let _: String = alloc::format!("{:?}", Row::new(&spec, &hosts));
}

/// A look-up reads one line of the cache; two bytes more would be another one.
#[test]
fn a_row_is_small() {
    assert_eq!(size_of::<Row>(), 64);
    assert_eq!(size_of::<Packed>(), 24);
}
