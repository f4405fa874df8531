//! Either side dies, or is told to end, at any moment.

use handover_sys::{Exit, Signal};

use crate::world::{DRIVERS, World, ask, descriptors, eventually};

#[test]
fn when_the_incumbent_dies_the_successor_goes_on_alone() {
    for driver in DRIVERS {
        let world = World::new(driver);
        let (old, address) = world.serving();
        world.version("2 wait");
        let new = world.start();
        assert_eq!(new.says("at "), address);
        old.signal(Signal::KILL);
        old.ends();
        // The queue is open although nobody accepts (I4).
        let waits = std::net::TcpStream::connect(&address).expect("the listener lives on");
        world.go();
        new.says("ready 2");
        new.says("committed");
        let mut answer = String::new();
        let mut waits = waits;
        std::io::Read::read_to_string(&mut waits, &mut answer).expect("an answer");
        assert_eq!(answer, format!("2 {}", new.pid()));
        // It coordinates, at the same path.
        eventually("it can be taken over", || {
            handover::takeover::socket_of(new.pid()).is_ok()
        });
        world.version("3");
        let (third, _) = world.serving();
        assert_eq!(new.ends(), Exit::Code(0));
        assert_eq!(ask(&address), ("3".into(), third.pid()));
    }
}

#[test]
fn when_the_successor_dies_the_incumbent_serves_on() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    for signal in [Signal::KILL, Signal::TERM] {
        world.version("2 wait");
        let new = world.start();
        new.says("at ");
        new.signal(signal);
        new.ends();
        assert_eq!(ask(&address), ("1".into(), old.pid()));
    }
    // I9: the next attempt works, as soon as the incumbent knows.
    world.version("3");
    eventually("another takes over", || {
        let new = world.start();
        match new.process.wait(Some(std::time::Duration::from_secs(1))) {
            Ok(Some(_)) => false,
            _ => {
                new.says("ready 3");
                assert_eq!(old.ends(), Exit::Code(0));
                ask(&address) == ("3".into(), new.pid())
            }
        }
    });
}

#[test]
fn a_successor_goes_on_when_the_incumbent_is_told_to_end() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    world.version("2 wait");
    let new = world.start();
    new.says("at ");
    old.signal(Signal::TERM);
    assert_eq!(old.ends(), Exit::Code(0));
    world.go();
    new.says("ready 2");
    assert_eq!(ask(&address), ("2".into(), new.pid()));
}

#[test]
fn one_that_is_too_slow_is_sent_away_with_the_reason() {
    let mut world = World::new("tokio");
    world.set("ACTOR_READY_MS", "200");
    let (old, address) = world.serving();
    world.version("2 wait");
    let new = world.start();
    new.says("at ");
    let status = || {
        let request = handover::takeover::Request::Status;
        let mut replies = handover::takeover::request(world.socket(), request).expect("it answers");
        match replies.next() {
            Some(Ok(handover::takeover::Reply::Serving(serving))) => serving.phase,
            other => panic!("{other:?}"),
        }
    };
    eventually("the attempt is over", || {
        status() == handover_proto::phase::Phase::Serving
    });
    world.go();
    let reason = new.says("refused:");
    assert!(reason.contains("warm was not over after 200ms"), "{reason}");
    assert_eq!(new.ends(), Exit::Code(1));
    assert_eq!(ask(&address), ("1".into(), old.pid()));
}

#[test]
fn a_service_that_is_told_to_end_leaves_its_place_to_whoever_starts_next() {
    let world = World::new("tokio");
    let (old, _) = world.serving();
    old.signal(Signal::TERM);
    assert_eq!(old.ends(), Exit::Code(0));
    world.version("2");
    let (new, address) = world.serving();
    assert_eq!(ask(&address), ("2".into(), new.pid()));
}

#[test]
fn an_incumbent_that_dies_before_it_has_given_anything_is_none() {
    let mut world = World::new("tokio");
    let path = world.path("t.sock");
    world.set("ACTOR_SOCKET", &path.display().to_string());
    // One that hears the request and dies.
    let dying = std::os::unix::net::UnixListener::bind(&path).expect("free");
    let new = world.start();
    let (mut stream, _) = dying.accept().expect("somebody comes");
    let mut begin = [0; 8];
    std::io::Read::read_exact(&mut stream, &mut begin).expect("it asks");
    assert_eq!(begin, handover_proto::takeover::MAGIC);
    drop((stream, dying));
    let address = new.says("at ");
    new.says("ready");
    assert_eq!(ask(&address), ("1".into(), new.pid()));
}

#[test]
fn one_that_has_no_room_for_the_listeners_is_told_so_and_costs_nothing() {
    let mut world = World::new("tokio");
    world.set("ACTOR_LISTENERS", "254");
    let (old, address) = world.serving();
    let before = descriptors(old.pid());
    let output = std::process::Command::new("prlimit")
        .arg("--nofile=40:40")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "actor::role", "--nocapture"])
        .envs(world.environment())
        .output()
        .expect("prlimit, of util-linux");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("descriptors were lost on arrival"), "{said}");
    assert!(said.contains("ulimit -n"), "{said}");
    eventually("what was copied for it is closed", || {
        descriptors(old.pid()) <= before
    });
    assert_eq!(ask(&address), ("1".into(), old.pid()));
    let (new, _) = world.serving();
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(ask(&address).1, new.pid());
}

#[test]
fn one_that_takes_everything_and_says_nothing_is_given_up() {
    use std::io::Write;
    let mut world = World::new("tokio");
    world.set("ACTOR_READY_MS", "200");
    let (old, address) = world.serving();
    let mut taker = std::os::unix::net::UnixStream::connect(world.socket()).expect("it listens");
    let ask_to_take = handover_proto::takeover::Ask::Take {
        service: "web".into(),
        // Not a process of its own: the pid it names is not believed where it matters.
        pid: handover_proto::identity::InstancePid(1),
        network: handover_sys::socket::network_namespace().expect("the kernel's"),
        oldest: 1,
        newest: 1,
    };
    // The kernel says that this very test has connected: it must not be killed for that.
    let bytes = handover_proto::takeover::encode_ask(&ask_to_take);
    taker.write_all(&bytes).expect("it reads");
    let mut answer = [0; 4096];
    std::io::Read::read(&mut taker, &mut answer).expect("everything is given");
    drop(taker);
    eventually("the attempt is over", || {
        let request = handover::takeover::Request::Status;
        let replies = handover::takeover::request(world.socket(), request);
        let reply = replies.ok().and_then(|mut replies| replies.next());
        matches!(reply, Some(Ok(handover::takeover::Reply::Serving(serving)))
            if serving.phase == handover_proto::phase::Phase::Serving)
    });
    assert_eq!(ask(&address), ("1".into(), old.pid()));
    assert!(old.lives());
}
