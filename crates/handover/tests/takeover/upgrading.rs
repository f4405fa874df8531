//! A program starts itself again, and hands over to what it started.

use std::time::Duration;

use handover_sys::{Exit, Pidfd, Signal};

use crate::world::{DRIVERS, Orphan, World, ask, eventually, read};

#[test]
fn a_signal_makes_a_program_replace_itself() {
    for (driver, signal) in DRIVERS.into_iter().zip([Signal::HUP, Signal::USR2]) {
        let mut world = World::new(driver);
        let file = world.path("web.pid");
        world.set("ACTOR_PID_FILE", &file.display().to_string());
        let (old, address) = world.serving();
        world.version("2");
        old.signal(signal);
        let (pid, version) = old.next("ready");
        let _new = Orphan::of(pid);
        assert_eq!(version, "2");
        assert_ne!(pid, old.pid());
        assert_eq!(old.ends(), Exit::Code(0));
        assert_eq!(read(&file), format!("{pid}\n"));
        assert_eq!(ask(&address), ("2".into(), pid));
    }
}

#[test]
fn it_can_do_so_again_and_again() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    old.says("committed");
    let mut serving = Pidfd::open(old.pid()).expect("it lives");
    let mut orphans = Vec::new();
    for version in 2..7 {
        world.version(&version.to_string());
        serving.signal(Signal::HUP).expect("it lives");
        let (pid, _) = old.next("committed");
        orphans.push(Orphan::of(pid));
        // The one before may still take what came before it stopped to.
        let new = (version.to_string(), pid);
        eventually("the new one answers", || ask(&address) == new);
        serving = Pidfd::open(pid).expect("it lives");
    }
    assert_eq!(old.ends(), Exit::Code(0));
}

#[test]
fn a_version_that_fails_changes_nothing() {
    for conduct in ["2 fail", "2 hang"] {
        let mut world = World::new("tokio");
        world.set("ACTOR_READY_MS", "300");
        let (old, address) = world.serving();
        let listening = handover::takeover::socket_of(old.pid()).expect("it can be taken over");
        assert_eq!(listening, world.socket());
        world.version(conduct);
        let mut replies =
            handover::takeover::request(world.socket(), handover::takeover::Request::Upgrade)
                .expect("it answers");
        let last = replies.by_ref().last().expect("an answer").expect("an end");
        let handover::takeover::Reply::Finished(finished) = last else {
            panic!("{last:?}")
        };
        let expected = if conduct.ends_with("fail") { 10 } else { 12 };
        assert_eq!(finished.code, expected, "{}", finished.text);
        assert_eq!(ask(&address), ("1".into(), old.pid()));
        // I9: the next attempt works.
        world.version("3");
        old.signal(Signal::HUP);
        let (pid, _) = old.next("ready 3");
        let _new = Orphan::of(pid);
        assert_eq!(old.ends(), Exit::Code(0));
        assert_eq!(ask(&address), ("3".into(), pid));
    }
}

#[test]
fn a_second_signal_starts_the_upgrade_over() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    world.version("2 wait");
    old.signal(Signal::HUP);
    let (second, _) = old.next("at");
    let second = Orphan::of(second);
    world.version("3");
    old.signal(Signal::HUP);
    let (third, _) = old.next("ready 3");
    let _third = Orphan::of(third);
    assert_eq!(old.ends(), Exit::Code(0));
    let ended = second.0.wait(Some(crate::world::DEADLINE));
    assert!(ended.expect("it can be awaited").is_some());
    assert_eq!(ask(&address), ("3".into(), third));
}

#[test]
fn an_interrupt_never_upgrades() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    world.version("2");
    old.signal(Signal::INT);
    old.says("ends");
    assert_eq!(old.ends(), Exit::Code(0));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_program_told_to_end_takes_what_it_has_started_with_it() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    world.version("2 wait");
    old.signal(Signal::HUP);
    let (new, _) = old.next("at");
    let new = Orphan::of(new);
    old.signal(Signal::TERM);
    assert_eq!(old.ends(), Exit::Code(0));
    let ended = new.0.wait(Some(crate::world::DEADLINE)).expect("it ends");
    assert!(ended.is_some());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn in_probation_the_old_one_takes_back_on_request_and_by_itself() {
    let mut world = World::new("tokio");
    world.set("ACTOR_PROBATION_MS", "600000");
    let file = world.path("web.pid");
    world.set("ACTOR_PID_FILE", &file.display().to_string());
    let (old, address) = world.serving();
    for by_request in [true, false] {
        world.version("2");
        old.signal(Signal::HUP);
        let (pid, _) = loop {
            let next = old.next("committed");
            if next.0 != old.pid() {
                break next;
            }
        };
        let new = Orphan::of(pid);
        assert!(old.lives(), "it is parked");
        eventually("the pid file", || read(&file) == format!("{pid}\n"));
        if by_request {
            let path = world.socket();
            let undo = handover::takeover::Request::Undo;
            let mut replies = handover::takeover::request(path, undo).expect("it answers");
            let last = replies.by_ref().last().expect("an answer");
            last.expect("it is undone");
        } else {
            new.0.signal(Signal::KILL).expect("it lives");
        }
        let ended = new.0.wait(Some(Duration::from_secs(60))).expect("it ends");
        assert!(ended.is_some());
        assert_eq!(ask(&address), ("1".into(), old.pid()));
        eventually("the pid file", || read(&file) == format!("{}\n", old.pid()));
    }
}
