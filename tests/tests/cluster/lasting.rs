//! Checkpoints outlast the nodes that wrote them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use handover_hub::checkpoint::{Directory, Store as _};
use handover_hub_proto::identity::{Epoch, ProcessId, Term};
use handover_tests::etcd::Disk;
use handover_tests::hub::{Node, Record};
use handover_tests::patience::until;
use handover_tests::peer::root;
use rustix::process::Signal;

use crate::world::World;
use crate::{COUNTERS, LONG, start_counters};

const CHECKPOINTS: &str = "HUB_NODE_CHECKPOINTS";

/// How far each counter has come.
fn values(record: &Record) -> BTreeMap<String, u64> {
    let counts = record.counts().into_iter();
    counts.map(|count| (count.id, count.value)).collect()
}

/// Waits until what is written of each counter is how far it has come. Nobody may count meanwhile.
fn until_written(kept: &Path, record: &Record) {
    let directory = Directory::new(kept).expect("it is there");
    // Whoever looks under this one changes nothing.
    let highest = Epoch {
        term: Term(u64::MAX),
        grant: u64::MAX,
    };
    let values = values(record);
    assert_eq!(values.len(), COUNTERS as usize);
    let written = |(id, value): (&String, &u64)| {
        let id = ProcessId::new(id).expect("an id");
        let state = directory.load(&id, highest).expect("it can be read");
        let counted = state.and_then(|state| state.decode::<(u64, Vec<u8>)>().ok());
        counted.is_some_and(|(counted, _)| counted == *value)
    };
    until("every counter is written", || values.iter().all(written));
}

#[test]
fn counters_go_on_after_all_nodes_were_killed() {
    let world = World::gossip();
    let kept = tempfile::tempdir().expect("a directory");
    let directory = kept.path().to_str().expect("a text");
    let start = || ["a", "b", "c"].map(|name| world.node(name, &[(CHECKPOINTS, directory)]));
    let mut nodes = start();
    start_counters(&nodes.each_ref(), &world.record);
    for _ in 0..2 {
        assert_eq!(nodes[0].count(COUNTERS, LONG), COUNTERS as usize);
        until_written(kept.path(), &world.record);
        let before = values(&world.record);
        for node in &nodes {
            node.signal(Signal::KILL);
        }
        for node in &mut nodes {
            assert_eq!(node.until_ended().code(), None, "it was killed");
        }
        // A hub that knows nothing of the one before, whose terms begin anew, too.
        nodes = start();
        for node in &nodes {
            node.until_nodes(3);
        }
        let started = nodes[1].ask(&format!("start {COUNTERS}"));
        assert_eq!(started, "done", "none of them runs");
        assert_eq!(nodes[2].count(COUNTERS, LONG), COUNTERS as usize);
        for (id, value) in values(&world.record) {
            assert_eq!(value, before[&id] + 1, "{id}");
        }
    }
    // Without checkpoints they begin anew.
    for node in &nodes {
        node.signal(Signal::KILL);
    }
    drop(nodes);
    let forgetful = world.node("a", &[]);
    assert_eq!(forgetful.ask(&format!("start {COUNTERS}")), "done");
    assert_eq!(forgetful.ask(&format!("add c0 {LONG}")), "1");
}

#[test]
fn a_full_disk_is_told_and_written_to_when_there_is_room_again() {
    if !root() {
        return;
    }
    let disk = Arc::new(Disk::new());
    let kept = disk.path().join("kept");
    let start = |world: &World| {
        let mut program = disk.command(env!("CARGO_BIN_EXE_hub-node").as_ref());
        program.env(CHECKPOINTS, &kept);
        world.start(program, "a")
    };
    let world = World::gossip();
    let node: Node = start(&world);
    assert_eq!(node.ask(&format!("start {COUNTERS}")), "done");
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(node.ask("failures"), "", "there is room");
    disk.fill();
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
    until("it is told", || {
        let said = node.ask("failures");
        said.contains("c7 not written: No space left on device")
    });
    assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize, "all serve");
    disk.make_room();
    // By itself.
    let root = PathBuf::from(format!("/proc/{}/root", node.pid()));
    let kept = root.join(kept.strip_prefix("/").expect("a whole path"));
    until_written(&kept, &world.record);
    node.signal(Signal::KILL);
    drop(node);
    let node = start(&world);
    assert_eq!(node.ask(&format!("start {COUNTERS}")), "done");
    assert_eq!(node.ask(&format!("add c7 {LONG}")), "4");
}
