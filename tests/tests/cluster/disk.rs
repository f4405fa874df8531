//! The disk of etcd is full.

use std::sync::Arc;

use handover_tests::address::own_address;
use handover_tests::etcd::{Disk, Etcd};
use handover_tests::hub::{Node, Place, Record};
use handover_tests::peer::root;

use crate::{COUNTERS, LONG, judge, judge_epochs, program, start_counters};

#[test]
fn etcd_has_no_room_on_its_disk_and_every_count_goes_on_where_it_was_when_it_has() {
    if !root() {
        return;
    }
    let disk = Arc::new(Disk::new());
    let Some(mut etcd) = Etcd::start_on(&disk) else {
        return;
    };
    let record = Record::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| {
        let place = Place {
            name,
            address: own_address().to_string(),
            record: record.path(),
            engine: etcd.endpoints()[0].clone(),
            lease: Some(3),
        };
        Node::start(program(), &place)
    });
    start_counters(&[&a, &b, &c], &record);
    disk.fill();
    // It ends when it cannot write; until then it answers who only reads.
    etcd.put_until_it_ends();
    for node in [&a, &b, &c] {
        node.until_suspended(true);
    }
    assert_eq!(a.count(COUNTERS, 500), 0, "they stand still");
    disk.make_room();
    etcd.member(0).start();
    for node in [&a, &b, &c] {
        node.until_suspended(false);
        node.until_nodes(3);
    }
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    let counts = record.counts();
    judge(&counts, |_| false);
    judge_epochs(&counts);
    let begun = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(begun, COUNTERS as usize, "none began anew");
}
