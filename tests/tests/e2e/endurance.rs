//! A thousand upgrades leave nothing behind.

use handover_proto::status::Status;
use handover_tests::{Builder, Program, Service, http, process};

use crate::FIXTURE;

const UPGRADES: u64 = 1000;

/// After so many everything that is allocated once has been.
const SETTLED: u64 = 50;

/// Memory may grow by this factor: the allocator's slack, and a history that is kept in memory
/// up to its limit. A leak of 1 KiB an upgrade would add more.
const GROWTH: f64 = 1.25;

/// The status once descriptors have stopped changing.
fn at_rest(service: &Service) -> Status {
    let mut fewest = service.until_alone();
    let mut same = 0;
    handover_tests::eventually("nothing is closed any more", || {
        let now = service.status();
        if now.supervisor_descriptors < fewest.supervisor_descriptors {
            (fewest, same) = (now, 0);
        } else {
            same += 1;
        }
        (same > 50).then(|| fewest.clone())
    })
}

/// I8: a descriptor that is not closed would show a thousand times over. I9: so would an attempt
/// that leaves something in the way of the next.
#[test]
fn i8_a_thousand_upgrades_leave_descriptors_and_memory_where_they_were() {
    let program = Program::new(FIXTURE, "--notify");
    let service = Builder::new(program.path())
        .flags(["--ready", "notify"])
        .start();
    let mut settled: Option<Status> = None;
    for n in 1..=UPGRADES {
        let outcome = service.upgrade_in_place();
        assert!(
            handover_tests::load::committed(&outcome),
            "upgrade {n}: {outcome}"
        );
        if n == SETTLED {
            settled = Some(at_rest(&service));
        }
    }
    let before = settled.expect("it was passed");
    // What belonged to the last instance that went is closed a moment after it.
    let after = service.until("descriptors are as many as they were", |status| {
        status.leaving.is_empty() && status.supervisor_descriptors == before.supervisor_descriptors
    });
    assert_eq!(after.generation.0, UPGRADES + 1);
    let (old, new) = (before.supervisor_rss_bytes, after.supervisor_rss_bytes);
    println!("supervisor's memory after {SETTLED} and {UPGRADES} upgrades: {old} and {new} bytes");
    assert!(new as f64 <= old as f64 * GROWTH, "{old} {new}");
    assert_eq!(process::descriptors(service.incumbent()), {
        let incumbent = before.incumbent.expect("it serves");
        usize::try_from(incumbent.descriptors.expect("counted")).expect("few")
    });
    assert_eq!(service.processes(), [service.incumbent()]);
    http::until_version(service.address(), "0");
    // Files of instances that have gone are gone.
    let left = std::fs::read_dir(service.dir()).expect("read").count();
    assert!(left < 20, "{left} files");
}
