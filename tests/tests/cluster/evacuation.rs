//! A node is emptied, and whoever ordered it waits for so long only.

use std::path::Path;

use handover_tests::patience::until;
use handover_tests::service::{clean, command_path};
use serde_json::Value;

use crate::world::World;
use crate::{COUNTERS, LONG, judge, start_counters};

/// The exit code of `handover hub evacuate` at this node, and what it said.
fn evacuate(socket: &Path, words: &[&str]) -> (i32, String) {
    let mut command = clean(command_path());
    command.args(["hub", "evacuate"]).args(words);
    let output = command.arg("--socket").arg(socket).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap(), said)
}

/// Who waited is told how many are left there; they serve, and go away all the same.
#[test]
fn an_evacuation_goes_on_when_nobody_waits_for_it_any_more() {
    let world = World::gossip();
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("a.sock");
    let a = world.node("a", &[("HUB_NODE_ADMIN", socket.to_str().unwrap())]);
    let (b, c) = (world.node("b", &[]), world.node("c", &[]));
    start_counters(&[&a, &b, &c], &world.record);
    let before = c.processes();
    let slow = ["c", "--rate", "1/s", "--timeout", "4s", "--format", "json"];
    let (code, said) = evacuate(&socket, &slow);
    assert_eq!(code, 12, "{said}");
    let outcome: Value = serde_json::from_str(&said).expect(&said);
    assert_eq!(outcome["outcome"], "evacuating", "{said}");
    assert_eq!(outcome["node"], "c", "{said}");
    let left = outcome["left"].as_u64().unwrap();
    assert!((1..=before as u64).contains(&left), "{before}: {said}");
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize, "all serve");
    // The second one who asks is told that it goes on, and by the library, too.
    let (code, said) = evacuate(&socket, &["c", "--timeout", "1s"]);
    assert_eq!(
        (code, said.contains("evacuate c --abort")),
        (11, true),
        "{said}"
    );
    until("the other one has heard of it, too", || {
        b.ask("evacuate c 1 1").contains("node c still runs")
    });
    until("it is empty", || c.processes() == 0);
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    assert_eq!(evacuate(&socket, &["c", "--abort"]).0, 0);
    until("it takes processes again", || c.processes() > 0);
    // One that ends in its time says so.
    let (code, said) = evacuate(&socket, &["c", "--timeout", "10m"]);
    assert_eq!(
        (code, said.contains("node c is empty")),
        (0, true),
        "{said}"
    );
    assert_eq!(c.processes(), 0);
    assert_eq!(a.count(COUNTERS, LONG), COUNTERS as usize);
    judge(&world.record.counts(), |_| false);
}
