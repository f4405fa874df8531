//! Counters with a passive replica each: the node of the active one is killed, and nothing that was
//! acknowledged is lost.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use handover_tests::address::own_address;
use handover_tests::etcd::{Etcd, Recipe};
use handover_tests::hub::{Node, Place, Record};
use handover_tests::patience::until;
use rustix::process::Signal;

use crate::{COUNTERS, LONG, program, start_counters};

/// Short, so that a killed node is soon known to be dead.
const LEASE: u32 = 3;

const CLIENTS: u32 = 4;

fn start(etcd: &Etcd, record: &Record, name: &str) -> Node {
    let place = Place {
        name,
        address: own_address().to_string(),
        record: record.path(),
        engine: etcd.endpoints()[0].clone(),
        lease: Some(LEASE),
    };
    let mut command = program();
    command.env("HUB_NODE_REPLICAS", "1");
    Node::start(command, &place)
}

/// Clients of one node, and how far each counter has come as they were told.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answers: AtomicUsize,
    told: Mutex<BTreeMap<u32, Vec<u64>>>,
}

/// Stops all clients, also when one of them or the test fails.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    fn run(&self, node: &Node, client: u32) {
        let _stop = Stop(self);
        let mut next = client;
        while !self.stop.load(Ordering::Relaxed) {
            next = (next * 31 + 7) % COUNTERS;
            let answer = node.ask(&format!("add c{next} {LONG}"));
            let value: u64 = answer
                .parse()
                .unwrap_or_else(|_| panic!("c{next}: {answer}"));
            self.told
                .lock()
                .unwrap()
                .entry(next)
                .or_default()
                .push(value);
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn made(&self, more: usize) {
        let goal = self.answers.load(Ordering::Relaxed) + more;
        until("calls are answered", || {
            self.answers.load(Ordering::Relaxed) >= goal
        });
    }
}

/// H3 and H4, with nodes that are killed: what is told twice was lost once, and what is not told
/// was counted twice.
#[test]
fn nothing_acknowledged_is_lost_when_the_node_of_an_active_replica_is_killed() {
    let Some(etcd) = Etcd::start(Recipe::default()) else {
        return;
    };
    let record = Record::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| start(&etcd, &record, name));
    start_counters(&[&a, &b, &c], &record);
    let all = COUNTERS.to_string();
    until("each counter has a replica", || a.ask("filled") == all);
    let mut before = BTreeMap::new();
    for number in 0..COUNTERS {
        let value: u64 = a.ask(&format!("add c{number} {LONG}")).parse().unwrap();
        before.insert(number, value);
    }
    let load = Load::default();
    let d = std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (load, a) = (&load, &a);
            scope.spawn(move || load.run(a, client));
        }
        let _stop = Stop(&load);
        load.made(200);
        c.signal(Signal::KILL);
        a.until_nodes(2);
        load.made(200);
        until("each counter has a replica again", || {
            a.ask("filled") == all
        });
        // The next one dies while replicas move to one that has just come.
        let d = start(&etcd, &record, "d");
        a.until_nodes(3);
        b.signal(Signal::KILL);
        a.until_nodes(2);
        load.made(200);
        d
    });
    for (number, mut told) in load.told.into_inner().unwrap() {
        told.sort_unstable();
        let first = before[&number] + 1;
        let expected: Vec<u64> = (first..).take(told.len()).collect();
        assert_eq!(told, expected, "c{number}");
    }
    let places = record.places();
    assert!(places.values().any(|node| node == "d"), "{places:?}");
    drop(d);
}
