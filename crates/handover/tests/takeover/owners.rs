//! One owner of data: state and lease cross without a supervisor.

use handover_sys::{Exit, Signal};

use crate::world::{DRIVERS, Orphan, World, ask};

#[test]
fn state_and_lease_cross_to_a_successor_that_somebody_starts() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        let data = world.path("data").display().to_string();
        std::fs::create_dir(&data).expect("made");
        world.set("ACTOR_DATA", &data);
        let old = world.start();
        let address = old.says("at ");
        assert_eq!(old.says("owns "), "1 Epoch(1)");
        old.says("ready");
        world.version("2");
        let new = world.start();
        assert_eq!(new.says("at "), address);
        // What was in memory only has crossed, and the epoch has grown.
        assert_eq!(new.says("owns "), "2 Epoch(2)");
        new.says("ready 2");
        assert_eq!(old.ends(), Exit::Code(0));
        assert_eq!(ask(&address), ("2".into(), new.pid()));
        new.signal(Signal::HUP);
        let (pid, owns) = new.next("owns ");
        let _third = Orphan::of(pid);
        assert_eq!(owns, "3 Epoch(3)");
        assert_eq!(new.ends(), Exit::Code(0));
    }
}

#[test]
fn a_successor_that_fails_leaves_the_lease_where_it_was() {
    let mut world = World::new("tokio");
    let data = world.path("data").display().to_string();
    std::fs::create_dir(&data).expect("made");
    world.set("ACTOR_DATA", &data);
    let (old, address) = world.serving();
    world.version("2 fail");
    assert_eq!(world.start().ends(), Exit::Code(3));
    assert_eq!(ask(&address), ("1".into(), old.pid()));
    world.version("2");
    let new = world.start();
    assert_eq!(new.says("owns "), "2 Epoch(2)");
    assert_eq!(old.ends(), Exit::Code(0));
}

#[test]
fn the_parked_one_takes_its_lease_back_when_the_new_one_dies() {
    let mut world = World::new("tokio");
    let data = world.path("data").display().to_string();
    std::fs::create_dir(&data).expect("made");
    world.set("ACTOR_DATA", &data);
    world.set("ACTOR_PROBATION_MS", "600000");
    let (old, address) = world.serving();
    world.version("2");
    let new = world.start();
    new.says("committed");
    assert!(old.lives());
    new.signal(Signal::KILL);
    new.ends();
    old.says("resumes");
    assert_eq!(ask(&address), ("1".into(), old.pid()));
}

#[test]
fn when_the_incumbent_dies_while_a_successor_warms_that_one_owns() {
    let mut world = World::new("tokio");
    let data = world.path("data").display().to_string();
    std::fs::create_dir(&data).expect("made");
    world.set("ACTOR_DATA", &data);
    let (old, address) = world.serving();
    world.version("2 wait");
    let new = world.start();
    assert_eq!(new.says("at "), address);
    old.signal(Signal::KILL);
    old.ends();
    world.go();
    // Its memory died with it; the lease did not.
    assert_eq!(new.says("owns "), "1 Epoch(2)");
    new.says("ready 2");
    assert_eq!(ask(&address), ("2".into(), new.pid()));
}
