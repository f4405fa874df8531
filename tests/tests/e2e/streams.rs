//! Standard streams that are not there.

use handover_proto::outcome::Outcome;
use handover_tests::{Builder, Program, Service, http};

use crate::FIXTURE;

fn upgrades(service: &Service) {
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
    http::until_version(service.address(), "0");
    service.until_alone();
}

/// Started with its standard input closed, as some init systems do.
#[test]
fn a_closed_standard_input_is_no_matter() {
    let program = Program::new(FIXTURE, "");
    let service = Builder::new(program.path())
        .wrapper(["sh", "-c", "exec \"$0\" \"$@\" <&-"])
        .start();
    upgrades(&service);
}

/// With all three closed, no listener may end up where an instance's output goes.
#[test]
fn i8_closed_streams_are_not_taken_by_sockets() {
    let program = Program::new(FIXTURE, "");
    let service = Builder::new(program.path())
        .wrapper(["sh", "-c", "exec \"$0\" \"$@\" <&- >&- 2>&-"])
        .start();
    upgrades(&service);
    for pid in [service.supervisor(), service.incumbent()] {
        for descriptor in 0..3 {
            let path = format!("/proc/{pid}/fd/{descriptor}");
            let target = std::fs::read_link(path).unwrap_or_default();
            let target = target.to_string_lossy();
            assert!(
                !target.starts_with("socket:"),
                "{pid}: {descriptor} is {target}"
            );
        }
    }
}

/// Whoever read the events has left; the service does not notice.
#[test]
fn a_reader_that_left_is_no_matter() {
    let program = Program::new(FIXTURE, "");
    let mut service = Builder::new(program.path()).broken_output().start();
    let incumbent = service.incumbent();
    upgrades(&service);
    assert_ne!(service.incumbent(), incumbent);
    // Words of an instance find nobody either.
    let bad = Program::new(FIXTURE, "--crash-at-start 3");
    let outcome = service.upgrade_to(bad.path());
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome}");
    upgrades(&service);
    service.stop(handover_proto::settings::Stop::Drain);
    assert_eq!(service.ended().code(), Some(0));
    service.until_empty();
}
