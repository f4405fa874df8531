//! The wall clock of a node is stepped while it serves; clocks that only go on stay true.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use handover_tests::address::own_address;
use handover_tests::hub::{Node, Place, Record};
use handover_tests::patience::until;
use handover_tests::peer::installed;

use crate::{COUNTERS, LONG, judge, judge_epochs, program, start_counters};

/// Longer than a lease of etcd here, and than silence that gossip holds for death.
const WHILE: Duration = Duration::from_secs(6);
const HOUR: i64 = 3600;

/// The library by which `faketime` lies; none where that is not installed.
fn library() -> Option<String> {
    let mut faketime = Command::new(installed("faketime")?);
    let output = faketime.args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]);
    let output = output.output().expect("it runs");
    let path = String::from_utf8(output.stdout).expect("a path");
    Some(path.trim().to_owned())
}

/// Has a command read the offset of its wall clock from a file, each time it looks at it.
fn concern(command: &mut Command, library: &str, offset: &Path) {
    command.env("LD_PRELOAD", library);
    command.env("FAKETIME_TIMESTAMP_FILE", offset);
    command.env("FAKETIME_NO_CACHE", "1");
    // Two spellings, for older and newer ones.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.env("DONT_FAKE_MONOTONIC", "1");
}

/// What a node's clock is ahead of another's, in seconds.
fn ahead(node: &Node, of: &Node) -> i64 {
    let clock = |node: &Node| node.ask("clock").parse::<i64>().expect("seconds");
    clock(node) - clock(of)
}

fn step(record: &Record, offset: &Path, [a, b, c]: [&Node; 3]) {
    start_counters(&[a, b, c], record);
    let before = c.homes();
    for hours in [1, -1, 0] {
        // As a whole, so that nobody reads half of it.
        let beside = offset.with_extension("new");
        fs::write(&beside, format!("{:+}s", hours * HOUR)).expect("written");
        fs::rename(&beside, offset).expect("renamed");
        until("its clock is stepped", || {
            (ahead(c, a) - hours * HOUR).abs() < HOUR / 2
        });
        for _ in 0..WHILE.as_secs() {
            for node in [a, b, c] {
                assert_eq!(node.ask("suspended"), "false");
                assert_eq!(node.ask("nodes"), "3");
                assert_eq!(node.count(COUNTERS, LONG), COUNTERS as usize);
            }
            thread::sleep(Duration::from_secs(1));
        }
    }
    assert_eq!(a.homes(), before, "nothing moved");
    let counts = record.counts();
    judge(&counts, |_| false);
    judge_epochs(&counts);
    let begun = counts.iter().filter(|count| count.value == 1).count();
    assert_eq!(begun, COUNTERS as usize, "none began anew");
}

fn play(engine: impl Fn(&[String]) -> (String, Option<u32>), library: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let offset = directory.path().join("offset");
    fs::write(&offset, "+0s").expect("written");
    let record = Record::new();
    let addresses: Vec<String> = (0..3).map(|_| own_address().to_string()).collect();
    let (engine, lease) = engine(&addresses);
    let start = |name, number: usize| {
        let place = Place {
            name,
            address: addresses[number].clone(),
            record: record.path(),
            engine: engine.clone(),
            lease,
        };
        let mut command = program();
        if name == "c" {
            concern(&mut command, library, &offset);
        }
        Node::start(command, &place)
    };
    let (a, b, c) = (start("a", 0), start("b", 1), start("c", 2));
    step(&record, &offset, [&a, &b, &c]);
}

#[test]
fn with_gossip_a_stepped_clock_changes_nothing() {
    let Some(library) = library() else { return };
    play(
        |seeds| (format!("gossip:{}", seeds.join(",")), None),
        &library,
    );
}

#[cfg(feature = "etcd")]
#[test]
fn with_etcd_a_stepped_clock_fences_nobody() {
    use handover_tests::etcd::{Etcd, Recipe};

    let (Some(library), Some(etcd)) = (library(), Etcd::start(Recipe::default())) else {
        return;
    };
    play(|_| (etcd.endpoints()[0].clone(), Some(3)), &library);
}
