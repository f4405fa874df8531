use handover_hub_proto::identity::{Epoch, KindName, NodeId, Term};
use handover_hub_proto::row::{Host, Role};
use handover_hub_proto::spec::ChildSpec;

use super::*;

fn id(n: u64) -> ProcessId {
    ProcessId::new(&format!("process-{n}")).unwrap()
}

fn row(n: u64, node: u64, tag: Option<&str>) -> Row {
    let mut spec = ChildSpec::new(KindName::new("k").unwrap(), id(n));
    spec.metadata.tag = tag.map(str::to_owned);
    let host = Host {
        node: NodeId(node),
        epoch: Epoch {
            term: Term(1),
            grant: node,
        },
        role: Role::Active,
        filled: true,
    };
    Row::new(spec, &[host])
}

#[test]
fn rows_are_found_replaced_and_removed() {
    let mut registry = Registry::new(64);
    for n in 0..5_000 {
        registry.put(row(n, 1, None));
    }
    registry.put(row(7, 2, None));
    assert_eq!(registry.len(), 5_000);
    assert_eq!(registry.get(&id(7)), Some(row(7, 2, None)));
    let shard = shard_of(&id(7), 64);
    let rows = registry.shard(shard);
    assert_eq!(rows.len(), registry.count(shard));
    assert!(rows.contains(&row(7, 2, None)));
    for n in 0..5_000 {
        assert!(registry.remove(&id(n)).is_some(), "{n}");
        assert!(registry.remove(&id(n)).is_none(), "{n}");
    }
    assert!(registry.is_empty());
    assert_eq!(registry.get(&id(7)), None);
}

/// Of a row that cannot be in one line, too: its id is long, or it has not one host that is active.
#[test]
fn whatever_a_row_has_is_kept() {
    let mut registry = Registry::new(8);
    let (long, similar) = ("x".repeat(25), format!("{}y", "x".repeat(24)));
    let ids = [
        "x",
        "xx",
        "12345678",
        "123456789",
        "näh",
        &"x".repeat(24),
        &long,
        &similar,
    ];
    let host = |node, role| Host {
        node: NodeId(node),
        epoch: Epoch {
            term: Term(node),
            grant: 7,
        },
        role,
        filled: node != 5,
    };
    let hosts = [
        vec![],
        vec![host(1, Role::Active)],
        vec![host(2, Role::Passive)],
        vec![host(3, Role::Passive), host(4, Role::Active)],
        vec![host(5, Role::Passive), host(6, Role::Passive)],
    ];
    for hosts in &hosts {
        for text in ids {
            let spec = ChildSpec::new(KindName::new("k").unwrap(), ProcessId::new(text).unwrap());
            let row = Row::new(spec, hosts);
            registry.put(row.clone());
            assert_eq!(registry.active(row.id()), Some(row.active()), "{text}");
            assert_eq!(registry.get(row.id()), Some(row), "{text}");
        }
    }
    assert_eq!(registry.len(), ids.len());
    for (text, left) in ids.iter().zip((0..ids.len()).rev()) {
        let id = ProcessId::new(text).unwrap();
        assert!(registry.remove(&id).is_some(), "{text}");
        assert_eq!(registry.active(&id), None, "{text}");
        assert_eq!(registry.len(), left);
    }
}

/// A row that is there is found while others come and go around it, and one that is not is not.
#[test]
fn rows_that_stay_are_found_while_others_come_and_go() {
    let mut registry = Registry::new(4);
    for n in 0..1_000 {
        registry.put(row(n, n, None));
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (registry, done) = (registry.clone(), &done);
            scope.spawn(move || {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for n in 0..1_000 {
                        let host = registry
                            .active(&id(n))
                            .flatten()
                            .expect("it was never removed");
                        assert_eq!((host.node, host.epoch.grant), (NodeId(n), n));
                    }
                    assert_eq!(registry.active(&id(1_000_000)), None);
                }
            });
        }
        for _ in 0..5 {
            for n in 1_000..9_000 {
                registry.put(row(n, n, None));
            }
            for n in 1_000..9_000 {
                assert!(registry.remove(&id(n)).is_some());
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(registry.len(), 1_000);
}

#[test]
fn tags_follow_their_rows() {
    let mut registry = Registry::new(8);
    let tagged = |registry: &Registry, tag| {
        let mut rows = registry.tagged(tag);
        rows.sort_by(|a, b| a.id().cmp(b.id()));
        rows
    };
    registry.put(row(1, 1, Some("red")));
    registry.put(row(2, 1, Some("red")));
    registry.put(row(3, 1, None));
    assert_eq!(
        tagged(&registry, "red"),
        [row(1, 1, Some("red")), row(2, 1, Some("red"))]
    );
    registry.put(row(1, 9, Some("red")));
    registry.put(row(2, 1, Some("blue")));
    assert_eq!(tagged(&registry, "red"), [row(1, 9, Some("red"))]);
    assert_eq!(tagged(&registry, "blue"), [row(2, 1, Some("blue"))]);
    registry.remove(&id(1));
    registry.put(row(2, 1, None));
    assert_eq!(tagged(&registry, "red"), []);
    assert_eq!(tagged(&registry, "blue"), []);
}

#[test]
fn many_read_while_one_writes() {
    let mut registry = Registry::new(16);
    for n in 0..1_000 {
        registry.put(row(n, 1, None));
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let registry = registry.clone();
            scope.spawn(move || {
                for n in (0..1_000).cycle().take(20_000) {
                    let node = registry.active(&id(n)).flatten().unwrap().node;
                    assert!((1..=20).contains(&node.0));
                }
            });
        }
        for node in 1..=20 {
            for n in 0..1_000 {
                registry.put(row(n, node, None));
            }
        }
    });
    registry.each(|row| assert_eq!(row.hosts()[0].node, NodeId(20)));
}

proptest::proptest! {
    /// Whatever is put and removed, in any order, is what is there.
    #[test]
    fn a_registry_is_a_map(steps in proptest::collection::vec((0_u64..60, 0_u64..4), 0..400)) {
        let (mut registry, mut model) = (Registry::new(2), std::collections::BTreeMap::new());
        for (n, step) in steps {
            if step == 0 {
                proptest::prop_assert_eq!(registry.remove(&id(n)), model.remove(&id(n)));
            } else {
                registry.put(row(n, step, None));
                model.insert(id(n), row(n, step, None));
            }
            proptest::prop_assert_eq!(registry.len(), model.len());
        }
        let mut rows = Vec::new();
        registry.each(|row| rows.push(row.clone()));
        rows.sort_by(|a, b| a.id().cmp(b.id()));
        proptest::prop_assert!(rows.iter().eq(model.values()));
        for n in 0..60 {
            proptest::prop_assert_eq!(registry.get(&id(n)), model.get(&id(n)).cloned());
            proptest::prop_assert_eq!(registry.active(&id(n)), model.get(&id(n)).map(Row::active));
        }
    }
}
