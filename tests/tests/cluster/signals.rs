//! Nodes that are told to end, children that are started meanwhile, and children that all nodes start.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use handover_tests::hub::Node;
use handover_tests::patience::until;
use rustix::process::Signal;

use crate::world::World;
use crate::{COUNTERS, LONG, judge, program, start_counters};

/// Counts on in every counter but this one.
fn count_others(node: &Node, but: &str) {
    let ids = (0..COUNTERS).map(|number| format!("c{number}"));
    let asked: Vec<u64> = ids
        .filter(|id| id != but)
        .map(|id| node.request(&format!("add {id} {LONG}")))
        .collect();
    for number in asked {
        let answer = node.answer(number);
        assert!(answer.parse::<u64>().is_ok(), "{answer}");
    }
}

#[test]
fn a_node_that_is_told_to_end_moves_everything_away_first() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::gossip();
        let [a, b, mut c] = ["a", "b", "c"].map(|name| world.node(name, &[]));
        start_counters(&[&a, &b, &c], &world.record);
        c.signal(signal);
        until("it is gone, and all answer", || {
            assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
            a.ask("nodes") == "2"
        });
        assert_eq!(c.until_ended().code(), Some(0));
        assert_eq!(b.count(COUNTERS, LONG), COUNTERS as usize);
        let counts = world.record.counts();
        judge(&counts, |_| false);
        let begun = counts.iter().filter(|count| count.value == 1).count();
        assert_eq!(begun, COUNTERS as usize, "none began anew");
        let places = world.record.places();
        assert!(places.values().all(|node| node != "c"), "{places:?}");
    }
}

/// To the others it is as if it had been killed; what had gone away is kept.
#[test]
fn a_second_signal_ends_a_node_at_once() {
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let world = World::gossip();
        let [a, mut b] = ["a", "b"].map(|name| world.node(name, &[]));
        start_counters(&[&a, &b], &world.record);
        let homes = a.homes();
        let (busy, _) = homes.iter().find(|(_, (_, host))| host == "b").unwrap();
        let hour = 3_600_000;
        // Its own call: another one's would be sent to the next host, and keep that one busy.
        b.request(&format!("sleep {busy} {hour}"));
        until("it is busy", || b.ask("sleeping") == "1");
        b.signal(Signal::TERM);
        until("it waits for the busy one only", || {
            count_others(&a, busy);
            b.processes() == 1
        });
        assert_eq!(a.ask("nodes"), "2", "it has not ended");
        b.signal(signal);
        assert_eq!(b.until_ended().code(), Some(status));
        a.until_nodes(1);
        assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
        let counts = world.record.counts();
        judge(&counts, |_| false);
        let begun: Vec<&str> = counts[COUNTERS as usize..]
            .iter()
            .filter(|count| count.value == 1)
            .map(|count| count.id.as_str())
            .collect();
        assert_eq!(begun, [busy.as_str()], "only that one began anew");
    }
}

/// Clients that start children, a few at a time, until they are told to stop.
#[derive(Default)]
struct Starts {
    stop: AtomicBool,
    next: AtomicU32,
}

impl Starts {
    const AT_ONCE: u32 = 5;

    /// Each of them is to be acknowledged.
    fn run(&self, node: &Node) {
        while !self.stop.load(Ordering::Acquire) {
            let first = self.next.fetch_add(Self::AT_ONCE, Ordering::AcqRel);
            let last = first + Self::AT_ONCE;
            assert_eq!(node.ask(&format!("range {first} {last}")), "done");
        }
    }

    fn made(&self, more: u32) {
        let goal = self.next.load(Ordering::Acquire) + more;
        until("children are started", || {
            self.next.load(Ordering::Acquire) >= goal
        });
    }
}

/// Told to stop however its scope ends.
struct Stop<'a>(&'a Starts);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// H3.
#[test]
fn a_node_that_leaves_while_children_are_started_loses_no_acknowledged_one() {
    let world = World::gossip();
    let [a, b, mut c] = ["a", "b", "c"].map(|name| world.node(name, &[]));
    for node in [&a, &b, &c] {
        node.until_nodes(3);
    }
    let starts = Starts::default();
    let before = std::thread::scope(|scope| {
        for node in [&a, &a, &b, &b] {
            let (starts, node) = (&starts, node);
            scope.spawn(move || {
                let _stop = Stop(starts);
                starts.run(node);
            });
        }
        let _stop = Stop(&starts);
        starts.made(200);
        until("it has some", || c.processes() > 20);
        let before = starts.next.load(Ordering::Acquire);
        c.signal(Signal::TERM);
        until("it is gone", || a.ask("nodes") == "2");
        before
    });
    assert_eq!(c.until_ended().code(), Some(0));
    let all = starts.next.load(Ordering::Acquire);
    assert!(
        all > before + 20,
        "{before} to {all} were started meanwhile"
    );
    for node in [&a, &b] {
        assert_eq!(node.count(all, LONG), all as usize);
    }
    let counts = world.record.counts();
    judge(&counts, |_| false);
    assert_eq!(counts.len(), 2 * all as usize);
    assert_eq!(a.processes() + b.processes(), all as usize);
}

/// Every node names the same children, and all begin at the same moment.
#[test]
fn children_that_three_nodes_start_with_run_once() {
    let world = World::gossip();
    let count = COUNTERS.to_string();
    let nodes = ["a", "b", "c"].map(|name| {
        let mut program = program();
        program.env("HUB_NODE_CHILDREN", &count);
        Node::begin(program, &world.place(name))
    });
    for node in &nodes {
        assert_eq!(node.answer(0), "ready");
    }
    for node in &nodes {
        node.until_nodes(3);
    }
    for _ in 0..3 {
        for node in &nodes {
            assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
        }
    }
    let counts = world.record.counts();
    assert_eq!(counts.len(), 9 * COUNTERS as usize);
    judge(&counts, |_| false);
    let begun = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(begun, COUNTERS as usize, "each began once");
    let processes: usize = nodes.iter().map(Node::processes).sum();
    assert_eq!(processes, COUNTERS as usize);
}
