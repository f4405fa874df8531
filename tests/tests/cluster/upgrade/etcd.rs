//! With etcd: the lease is kept across.

use std::collections::BTreeSet;

use handover_tests::etcd::{Etcd, Recipe};
use handover_tests::load;

use super::{Owned, deaths, tally};
use crate::world::World;
use crate::{COUNTERS, LONG, judge};

/// An etcd, and where its nodes are; not where there is none.
fn world() -> Option<(Etcd, World)> {
    let etcd = Etcd::start(Recipe::default())?;
    let mut world = World::gossip();
    world.engine = etcd.endpoints()[0].clone();
    world.lease = Some(10);
    Some((etcd, world))
}

#[test]
fn a_successor_that_is_killed_at_any_step_leaves_the_old_one_serving_under_its_lease() {
    if let Some((_etcd, world)) = world() {
        deaths::successors_die(&world);
    }
}

#[test]
fn an_incumbent_that_is_killed_at_any_step_after_its_seal_leaves_the_lease_with_everything() {
    if let Some((_etcd, world)) = world() {
        deaths::incumbents_die(&world);
    }
}

#[test]
fn a_node_is_upgraded_under_its_lease() {
    let Some((etcd, world)) = world() else {
        return;
    };
    let owned = Owned::start("", &world.place("a"), None);
    let node = world.client("b");
    node.until_nodes(2);
    assert_eq!(node.ask(&format!("start-all {COUNTERS}")), "done");
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(node.ask(&format!("hammer {COUNTERS} 8")), "done");
    let lease = || {
        let list = etcd.ctl(&["lease", "list"]);
        list.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let before = lease();
    for _ in 0..3 {
        let outcome = owned.service.upgrade_in_place();
        let said = owned.service.stderr();
        assert!(load::committed(&outcome), "{outcome}\n{said}");
        owned.service.until_alone();
    }
    let tally = tally(&node);
    assert!(tally.answered > 0);
    assert_eq!((tally.failed, tally.wrong), (0, 0), "{tally:?}");
    assert_eq!(lease(), before, "nobody left or joined");
    judge(&world.record.counts(), |_| false);
}
