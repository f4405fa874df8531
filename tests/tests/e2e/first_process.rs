//! As the first process of a container.

use handover_proto::outcome::Outcome;
use handover_tests::patience::{eventually, until};
use handover_tests::{Builder, Program, http, peer, process};
use rustix::process::Signal;

use crate::FIXTURE;

fn children(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("read").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| process::parent(*child) == Some(pid))
        .collect()
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// Orphans are given to process 1, which must bury them; and SIGTERM stops it, although the kernel
/// ignores signals that process 1 has no handler for.
#[test]
fn as_process_1_it_reaps_orphans_and_stops() {
    if !peer::root() {
        return;
    }
    let namespaces = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let program = Program::new(FIXTURE, "--orphan");
    let mut service = Builder::new(program.path()).wrapper(namespaces).start();
    // Seen from within, it is process 1; from here, the child of `unshare`.
    assert_eq!(service.status().supervisor_pid, 1);
    let first = children(service.supervisor());
    let [first] = first.as_slice() else {
        panic!("{first:?}")
    };
    let orphan = eventually("an orphan is its child", || {
        children(*first)
            .into_iter()
            .find(|pid| name(*pid) == "sleep\n")
    });
    process::signal(orphan, Signal::KILL);
    until("the orphan is buried", || process::state(orphan).is_none());

    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
    http::until_version(service.address(), "0");
    service.until_alone();
    until("nobody waits to be buried", || {
        let zombie = |pid: &u32| process::state(*pid) == Some('Z');
        !children(*first).iter().any(zombie)
    });
    process::signal(*first, Signal::TERM);
    assert_eq!(service.ended().code(), Some(0));
    service.until_empty();
}
