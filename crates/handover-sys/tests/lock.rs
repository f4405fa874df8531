//! A lock belongs to the open file: it is held by copies, ended for all of them at once, and `/proc`
//! says by whom.

mod world;

use std::fs::File;
use std::os::fd::AsFd;

use handover_sys::filesystem::{self, Filesystem};
use handover_sys::lock::{Holders, holders, try_lock, unlock};
use handover_sys::process::{Liveness, liveness, start_time};
use handover_sys::spawn::Spawn;
use world::DEADLINE;

#[test]
fn i1_it_is_held_by_copies_and_ended_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let (one, two) = (File::create(&path).unwrap(), File::open(&path).unwrap());
    assert_eq!(holders(&two).unwrap(), Holders::default());
    assert!(try_lock(&one).unwrap());
    assert!(try_lock(&one).unwrap(), "it is ours already");
    assert!(!try_lock(&two).unwrap());

    let sleep = Spawn::path("/bin/sleep").args(["1000"]);
    let child = sleep.descriptors(vec![one.as_fd()]).spawn().unwrap();
    let own = std::process::id();
    let found = holders(&two).unwrap();
    let mut both = vec![own, child.pid];
    both.sort_unstable();
    assert_eq!((found.taken_by, found.held_by), (Some(own), both));

    drop(one);
    assert!(!try_lock(&two).unwrap(), "the child has it");
    assert_eq!(holders(&two).unwrap().held_by, [child.pid]);
    child.pidfd.signal(handover_sys::Signal::KILL).unwrap();
    child.pidfd.wait(Some(DEADLINE)).unwrap();
    assert!(try_lock(&two).unwrap());

    let copy = two.try_clone().unwrap();
    unlock(&copy).unwrap();
    assert!(try_lock(&File::open(&path).unwrap()).unwrap());
}

#[test]
fn the_living_the_dead_and_those_between_are_told_apart() {
    let child = Spawn::path("/bin/sleep").args(["1000"]).spawn().unwrap();
    let start = start_time(child.pid).unwrap();
    assert_eq!(liveness(child.pid, start), Liveness::Alive);
    assert_eq!(
        liveness(child.pid, start + 1),
        Liveness::Gone,
        "another one"
    );
    child.pidfd.signal(handover_sys::Signal::KILL).unwrap();
    world::eventually("it has ended", || {
        liveness(child.pid, start) == Liveness::Zombie
    });
    child.pidfd.wait(Some(DEADLINE)).unwrap();
    assert_eq!(liveness(child.pid, start), Liveness::Gone);
    assert_eq!(liveness(u32::MAX, start), Liveness::Gone);
}

#[test]
fn filesystems_are_what_they_are() {
    let of = |path| filesystem::of(File::open(path).unwrap()).unwrap();
    assert_eq!(of("/dev/shm"), Filesystem::Local { name: "tmpfs" });
    // PROC_SUPER_MAGIC of `linux/magic.h`.
    assert_eq!(of("/proc"), Filesystem::Unknown { magic: 0x9fa0 });
}
