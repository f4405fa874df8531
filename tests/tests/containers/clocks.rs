//! Wall clocks that are wrong or are stepped back, as on devices without a battery.

use std::fs;

use handover_tests::network::{Bridge, Entrypoint, Theirs, possible};
use handover_tests::peer;

use crate::theirs::obeyed;
use crate::{let_go, ours, serves, version_3};

/// What `faketime` makes of a clock.
const BACK: &str = "-2h";

fn faketime() -> bool {
    possible() && peer::installed("faketime").is_some()
}

#[test]
fn version_3_does_not_look_at_the_clock() {
    if !faketime() {
        return;
    }
    let bridge = Bridge::new();
    let first = bridge.container();
    let second = bridge.container().clock(BACK);
    let old = version_3().serving(&first);
    let young = version_3().serving(&second);
    let clock = |instance: &Entrypoint| {
        instance.until("started")["clock_ms"]
            .as_i64()
            .expect("a time")
    };
    assert!(clock(&young) < clock(&old), "the clock was not stepped");
    let_go(&old, &first);
    serves(&young, &second);
}

/// The clock of the new release is behind: handover-lib would never retire.
#[test]
fn theirs_stays_when_the_clock_was_stepped_back() {
    let Some(theirs) = Theirs::installed().filter(|_| faketime()) else {
        return;
    };
    let bridge = Bridge::new();
    let containers = [
        bridge.container(),
        bridge.container().clock(BACK),
        bridge.container(),
    ];
    let old = theirs.peer_by_clock(&containers[0], "bridge");
    let young = theirs.peer_by_clock(&containers[1], "bridge");
    young.until("announced");
    // The wrong one goes: the old one has the later time.
    let_go(&young, &containers[1]);
    let next = theirs.peer_by_clock(&containers[2], "bridge");
    let_go(&old, &containers[0]);
    let started = next.until("started")["started_ms"].as_i64();
    assert_eq!(Some(obeyed(&old)), started);
}

/// It hears of the old one while it gets ready: theirs says so every 10 s. Who is ready sooner has
/// announced a time by then that theirs takes for an earlier one.
#[test]
fn ours_retires_theirs_although_the_clock_was_stepped_back() {
    let Some(theirs) = Theirs::installed().filter(|_| faketime()) else {
        return;
    };
    let bridge = Bridge::new();
    let shared = tempfile::tempdir().expect("a directory");
    let ready = shared.path().join("ready");
    let first = bridge.container();
    let second = bridge.container().clock(BACK).sees(shared.path());
    let old = theirs.peer_by_clock(&first, "bridge");
    let young = ours().ready_on(&ready).start(&second);
    young.until("legacy_time_raised");
    serves(&old, &first);
    fs::write(&ready, "").expect("written");
    let_go(&old, &first);
    serves(&young, &second);
}
