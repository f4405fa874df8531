//! Children leave a node that has more to do than others.

use handover_tests::hub::Node;

use crate::world::World;
use crate::{COUNTERS, LONG, judge, judge_epochs, start_counters};

const BUSY: [&str; 4] = ["busy0", "busy1", "busy2", "busy3"];
/// Messages that each of those is sent at once, and how long it is at each, in milliseconds.
const QUEUED: usize = 50;
const WORK: usize = 20;
/// As often it is looked whether children have left: longer than a test waits for anything.
const ROUNDS: usize = 100;

/// Has the children that are pinned to a node wait for a while, and all others count meanwhile.
fn round(a: &Node) {
    let asked: Vec<u64> = BUSY
        .iter()
        .flat_map(|id| (0..QUEUED).map(move |_| format!("sleep {id} {WORK}")))
        .map(|request| a.request(&request))
        .collect();
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    for number in asked {
        assert_eq!(a.answer(number), "0");
    }
}

fn keep_busy(environment: &[(&str, &str)], mut enough: impl FnMut(usize, usize) -> bool) {
    let world = World::gossip();
    let nodes = ["a", "b", "c"].map(|name| world.node(name, environment));
    let [a, b, c] = &nodes;
    start_counters(&[a, b, c], &world.record);
    for id in BUSY {
        assert_eq!(a.ask(&format!("pinned {id} b")), "done");
    }
    let before = b.processes();
    let left = (0..ROUNDS).any(|_| {
        round(a);
        enough(before, b.processes())
    });
    assert!(left, "{before} children were on b, {} are", b.processes());
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    let counts = world.record.counts();
    judge(&counts, |_| false);
    judge_epochs(&counts);
    let begun = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(begun, COUNTERS as usize, "none began anew");
}

#[test]
fn children_leave_a_node_that_is_busy() {
    let balanced = [("HUB_NODE_BALANCE", "200")];
    let mut last = 0;
    keep_busy(&balanced, |before, now| {
        last = now;
        let own = BUSY.len();
        now - own <= (before - own) / 2
    });
    assert!(last >= BUSY.len(), "what is pinned stays");
}

/// By the numbers of their shards alone they stay.
#[test]
fn children_that_are_not_balanced_stay() {
    let mut rounds = 0;
    keep_busy(&[], |before, now| {
        assert_eq!(before, now);
        rounds += 1;
        rounds == 5
    });
}
