//! What a node might say, made up for tests of screens.

use handover_hub::admin::view::{
    EvacuationView, EventView, HostView, MoveList, MoveView, Moves, NodeView, ProcessView, Shards,
    Status, Weight,
};
use handover_hub_proto::identity::{HubName, KindName, NodeName, ProcessId};
use handover_hub_proto::row::Role;
use handover_hub_proto::spec::Restart;
use handover_hub_proto::view::{Load, Standing};

fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

pub(crate) fn status() -> Status {
    Status {
        hub: HubName::new("sessions").unwrap(),
        node: name("a"),
        id: "00000000000000a1".to_owned(),
        version: "1.2.0".to_owned(),
        pid: 4711,
        unix_ms: 1_795_247_479_024,
        uptime_ms: 185_000,
        exclusive: false,
        suspended: None,
        shards: Shards {
            total: 1024,
            here: 400,
            vacant: 0,
        },
        processes: 30_000,
        moves: Moves {
            in_flight: 2,
            deferred: 1,
            per_second: 498.6,
            moved: 7_421,
            failed: 0,
            last_pause_ns: Some(870_000),
            unknown: Vec::new(),
        },
        evacuations: vec![EvacuationView {
            node: name("c"),
            left: 2_579,
        }],
    }
}

fn node(letter: &str, processes: u64, shards: u32, standing: Standing) -> NodeView {
    NodeView {
        name: name(letter),
        id: format!("00000000000000{letter}1"),
        address: format!("node-{letter}.example:7600"),
        version: "1.2.0".to_owned(),
        joined_ms: 1_795_247_294_024,
        standing,
        weight: 100,
        shards,
        processes,
        load: Load {
            processor: 231,
            memory: 84,
            queued: 17,
            processes: u32::try_from(processes).unwrap(),
        },
        leader: letter == "a",
        here: letter == "a",
    }
}

pub(crate) fn nodes() -> Vec<NodeView> {
    vec![
        node("a", 13_700, 400, Standing::Serving),
        node("b", 13_721, 398, Standing::Serving),
        node("c", 2_579, 226, Standing::Evacuating),
    ]
}

pub(crate) fn processes() -> Vec<ProcessView> {
    let host = |node: &str, role| HostView {
        node: node.to_owned(),
        epoch: "12.7".to_owned(),
        role,
    };
    let process = |id: &str, hosts| ProcessView {
        id: ProcessId::new(id).unwrap(),
        kind: KindName::new("session").unwrap(),
        shard: 311,
        home: Some("b".to_owned()),
        hosts,
        pinned: Vec::new(),
        restart: Restart::Permanent,
        declared: false,
        tag: None,
        fields: std::collections::BTreeMap::new(),
    };
    let mut pinned = process(
        "user-2",
        vec![host("b", Role::Passive), host("c", Role::Active)],
    );
    pinned.pinned = vec![name("b"), name("c")];
    pinned.declared = true;
    pinned.tag = Some("eu".to_owned());
    pinned.fields = [("plan".to_owned(), "free".to_owned())].into();
    let mut nowhere = process("user-10", Vec::new());
    nowhere.home = None;
    vec![
        pinned,
        process("alice", vec![host("a", Role::Active)]),
        nowhere,
    ]
}

pub(crate) fn moves() -> MoveList {
    let flight = |process: &str, to: &str, elapsed_ms| MoveView {
        process: ProcessId::new(process).unwrap(),
        from: "c".to_owned(),
        to: to.to_owned(),
        home: "b".to_owned(),
        elapsed_ms,
    };
    MoveList {
        in_flight: 2,
        moves: vec![flight("user-8", "a", 1_203), flight("user-9", "b", 2)],
        unknown: Vec::new(),
    }
}

pub(crate) fn events() -> Vec<EventView> {
    let event = |seq: u64, weight, text: &str| EventView {
        seq,
        unix_ms: 1_795_247_479_024 + 40 * seq,
        event: "moved".to_owned(),
        process: None,
        shard: None,
        attempt: None,
        from: None,
        node: None,
        pause_ns: None,
        reason: None,
        weight,
        text: text.to_owned(),
    };
    vec![
        event(1, Weight::Plain, "node c joined"),
        event(2, Weight::Plain, "user-8 moves from node c to node a"),
        event(3, Weight::Good, "user-8 moved to node a, pause 870.0µs"),
        event(
            4,
            Weight::Bad,
            "user-9 did not move and serves on node c: \u{1b}[31mbusy",
        ),
    ]
}
