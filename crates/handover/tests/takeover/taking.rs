//! A successor that somebody starts takes over from whoever serves.

use handover_sys::{Exit, Signal};

use crate::world::{DRIVERS, World, ask, descriptors, eventually, read};

#[test]
fn a_second_process_takes_over_and_the_first_ends() {
    for driver in DRIVERS {
        let world = World::new(driver);
        let (old, address) = world.serving();
        assert_eq!(ask(&address), ("1".into(), old.pid()));
        world.version("2");
        let (new, same) = world.serving();
        assert_eq!(same, address, "the listener crossed");
        new.says("committed");
        old.says("ends");
        assert_eq!(old.ends(), Exit::Code(0));
        assert_eq!(ask(&address), ("2".into(), new.pid()));
        // And so on: it coordinates itself now.
        world.version("3");
        let (third, _) = world.serving();
        assert_eq!(new.ends(), Exit::Code(0));
        assert_eq!(ask(&address), ("3".into(), third.pid()));
        third.signal(Signal::TERM);
        assert_eq!(third.ends(), Exit::Code(0));
    }
}

#[test]
fn either_driver_takes_over_from_the_other() {
    let mut world = World::new("tokio");
    let (old, address) = world.serving();
    world.set("ACTOR", "blocking");
    world.version("2");
    let (middle, _) = world.serving();
    assert_eq!(old.ends(), Exit::Code(0));
    world.set("ACTOR", "tokio");
    world.version("3");
    let (new, _) = world.serving();
    assert_eq!(middle.ends(), Exit::Code(0));
    assert_eq!(ask(&address), ("3".into(), new.pid()));
}

#[test]
fn more_listeners_cross_than_fit_into_one_message() {
    let mut world = World::new("tokio");
    world.set("ACTOR_LISTENERS", "254");
    let (old, address) = world.serving();
    let (new, same) = world.serving();
    assert_eq!(same, address);
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(ask(&address).1, new.pid());
    let again = world.start();
    assert_eq!(again.says("at "), address);
    assert_eq!(new.ends(), Exit::Code(0));
}

#[test]
fn a_unix_listener_keeps_its_path() {
    let mut world = World::new("tokio");
    let path = world.path("app.sock");
    world.set("ACTOR_UNIX", &path.display().to_string());
    let (old, _) = world.serving();
    let inode = |path| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).map(|found| found.ino()).ok()
    };
    let before = inode(&path);
    // A loser leaves it alone.
    world.version("2 fail");
    assert_eq!(world.start().ends(), Exit::Code(3));
    assert_eq!(inode(&path), before);
    world.version("2");
    let (new, _) = world.serving();
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(inode(&path), before, "it was never bound again");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).expect("it is served");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).expect("an answer");
    assert_eq!(answer, format!("2 {}", new.pid()));
}

#[test]
fn the_pid_file_names_whoever_serves() {
    let mut world = World::new("tokio");
    let file = world.path("web.pid");
    world.set("ACTOR_PID_FILE", &file.display().to_string());
    let (old, _) = world.serving();
    assert_eq!(read(&file), format!("{}\n", old.pid()));
    let (new, _) = world.serving();
    old.says("ends");
    assert_eq!(
        read(&file),
        format!("{}\n", new.pid()),
        "before the old one has ended"
    );
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(read(&file), format!("{}\n", new.pid()));
    new.signal(Signal::TERM);
    assert_eq!(new.ends(), Exit::Code(0));
    assert!(!file.exists(), "the last one removes it");
}

#[test]
fn descriptors_do_not_grow_over_two_hundred_takeovers() {
    let world = World::new("tokio");
    let (mut serving, address) = world.serving();
    let mut counts = Vec::new();
    for _ in 0..200 {
        let (next, _) = world.serving();
        next.says("committed");
        assert_eq!(serving.ends(), Exit::Code(0));
        serving = next;
        let pid = serving.pid();
        eventually("it coordinates", || {
            handover::takeover::socket_of(pid).is_ok()
        });
        counts.push(descriptors(pid));
    }
    assert_eq!(ask(&address).1, serving.pid());
    let (first, last) = (&counts[..100], &counts[100..]);
    assert!(
        last.iter().max() <= first.iter().max(),
        "{counts:?}: they grow"
    );
}
