//! With gossip.

use handover_tests::load;

use super::{Owned, tally};
use crate::world::World;
use crate::{COUNTERS, LONG, judge};

#[test]
fn a_node_is_upgraded_and_goes_on_as_the_same_one() {
    let world = World::gossip();
    let owned = Owned::start("", &world.place("a"), None);
    let node = world.client("b");
    node.until_nodes(2);
    assert_eq!(node.ask(&format!("start-all {COUNTERS}")), "done");
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    let before = owned.service.incumbent();
    let outcome = owned.service.upgrade_in_place();
    let said = owned.service.stderr();
    assert!(load::committed(&outcome), "{outcome}\n{said}");
    assert_ne!(owned.service.incumbent(), before);
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(node.ask("nodes"), "2");
    let counts = world.record.counts();
    judge(&counts, |_| false);
    assert_eq!(counts.len(), 2 * COUNTERS as usize);
    let begun = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(begun, COUNTERS as usize, "none began anew");
}

#[test]
fn ten_thousand_are_called_through_five_upgrades() {
    const MANY: usize = 10_000;
    let world = World::gossip();
    let owned = Owned::start("", &world.place("a"), None);
    let node = world.client("b");
    node.until_nodes(2);
    assert_eq!(node.ask(&format!("start-all {MANY}")), "done");
    assert_eq!(node.ask(&format!("hammer {MANY} 16")), "done");
    for _ in 0..5 {
        let outcome = owned.service.upgrade_in_place();
        let said = owned.service.stderr();
        assert!(load::committed(&outcome), "{outcome}\n{said}");
        owned.service.until_alone();
    }
    assert_eq!(node.ask("nodes"), "2");
    let tally = tally(&node);
    assert!(tally.answered > 0);
    assert_eq!((tally.failed, tally.wrong), (0, 0), "{tally:?}");
}

#[test]
fn a_program_without_the_kind_is_refused_and_the_old_one_serves_on() {
    let world = World::gossip();
    let owned = Owned::start("", &world.place("a"), None);
    let node = world.client("b");
    node.until_nodes(2);
    assert_eq!(node.ask(&format!("start-all {COUNTERS}")), "done");
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    let before = owned.service.incumbent();
    owned.deploy("--lacks");
    let outcome = owned.service.upgrade_in_place();
    assert!(!load::committed(&outcome), "{outcome}");
    let said = format!("{outcome} {}", owned.service.stderr());
    assert!(said.contains("kind counter"), "{said}");
    assert_eq!(owned.service.incumbent(), before);
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    owned.deploy("");
    let outcome = owned.service.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    judge(&world.record.counts(), |_| false);
}
