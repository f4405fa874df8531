//! Whoever takes part in an upgrade dies at its steps.

use handover_tests::crash::{Crashes, How, Point, Trace};
use handover_tests::hub::Node;
use handover_tests::load;

use super::{Owned, tally};
use crate::COUNTERS;
use crate::world::World;

/// A node under a supervisor whose instances may die at each step, and a client that calls all the time.
fn staged(world: &World, crashes: &Crashes) -> (Owned, Node) {
    let owned = Owned::start("", &world.place("a"), Some(crashes));
    let node = world.client("b");
    node.until_nodes(2);
    assert_eq!(node.ask(&format!("start-all {COUNTERS}")), "done");
    assert_eq!(node.ask(&format!("hammer {COUNTERS} 8")), "done");
    (owned, node)
}

/// What everybody does in an upgrade, by name. The incumbent is instance 1, the successor 2.
fn effects(owned: &Owned, crashes: &Crashes) -> Trace {
    crashes.plan(&[]);
    let outcome = owned.service.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    owned.service.until_alone();
    crashes.over();
    crashes.trace()
}

fn killed(instance: usize, k: usize) -> Point {
    Point {
        who: instance.to_string(),
        k,
        how: How::Kill,
    }
}

/// Nothing was lost, and it is still the same node.
fn judge(node: &Node) {
    assert_eq!(node.ask("nodes"), "2");
    let tally = tally(node);
    assert!(tally.answered > 0);
    assert_eq!((tally.failed, tally.wrong), (0, 0), "{tally:?}");
}

/// The old one serves on.
pub(super) fn successors_die(world: &World) {
    let crashes = Crashes::new();
    let (owned, node) = staged(world, &crashes);
    let taken = &effects(&owned, &crashes)["2"];
    let ready = taken.iter().position(|effect| effect == "Ready");
    let ready = ready.map_or(taken.len(), |at| at + 1);
    for (k, instance) in (1..=ready).zip(3..) {
        let point = killed(instance, k);
        let before = owned.service.incumbent();
        crashes.plan(std::slice::from_ref(&point));
        let outcome = owned.service.upgrade_in_place();
        crashes.over();
        assert!(crashes.fired(&point).is_some(), "{point}");
        assert!(!load::committed(&outcome), "{point}: {outcome}");
        assert_eq!(owned.service.incumbent(), before, "{point}");
    }
    let outcome = owned.service.upgrade_in_place();
    assert!(load::committed(&outcome), "{outcome}");
    judge(&node);
}

/// The new one has everything.
pub(super) fn incumbents_die(world: &World) {
    let crashes = Crashes::new();
    let (owned, node) = staged(world, &crashes);
    let trace = effects(&owned, &crashes);
    let (given, taken) = (&trace["1"], &trace["2"]);
    let sealed = given.iter().position(|effect| effect == "Sealed");
    let sealed = sealed.unwrap_or_else(|| panic!("it is never sealed: {given:?}"));
    let after = &given[sealed + 1..];
    assert!(!after.is_empty(), "{given:?}");
    for (at, incumbent) in (sealed + 1..given.len()).zip(2..) {
        // What it did as a successor is counted as well.
        let point = killed(incumbent, taken.len() + at + 1);
        crashes.plan(std::slice::from_ref(&point));
        let outcome = owned.service.upgrade_in_place();
        let said = owned.service.stderr();
        assert!(load::committed(&outcome), "{point}: {outcome}\n{said}");
        owned.service.until_alone();
        crashes.over();
        assert_eq!(crashes.fired(&point).as_ref(), Some(&given[at]), "{point}");
    }
    judge(&node);
}

#[test]
fn a_successor_that_is_killed_at_any_step_before_it_serves_leaves_the_old_one_serving() {
    successors_die(&World::gossip());
}

#[test]
fn an_incumbent_that_is_killed_at_any_step_after_its_seal_loses_nothing() {
    incumbents_die(&World::gossip());
}
