//! A thousand starts leave the process as it was.

mod world;

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use handover_sys::Exit;
use handover_sys::spawn::Spawn;
use world::{own_descriptors, pipe};

fn mappings() -> usize {
    fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

fn children() -> String {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap())
        .collect()
}

#[test]
fn a_thousand_starts_leak_nothing() {
    let (read, write) = pipe();
    let sources: Vec<BorrowedFd<'_>> = vec![read.as_fd(), write.as_fd(), read.as_fd()];
    let good = Spawn::path("/bin/true")
        .descriptors(sources.clone())
        .listen_pid();
    let bad = Spawn::path("/no/such/program").descriptors(sources);
    let round = || {
        let child = good.spawn().unwrap();
        assert_eq!(child.pidfd.wait(None).unwrap(), Some(Exit::Code(0)));
        bad.spawn().unwrap_err();
    };
    // The first rounds may make the allocator and the C library settle.
    for _ in 0..10 {
        round();
    }
    let before = (own_descriptors(), mappings(), children());
    for _ in 0..1000 {
        round();
    }
    let after = (own_descriptors(), mappings(), children());
    assert_eq!(after.0, before.0, "descriptors");
    assert!(
        after.1 <= before.1 + 2,
        "mappings: {} then {}",
        before.1,
        after.1
    );
    assert_eq!(after.2.trim(), "", "children");
}
