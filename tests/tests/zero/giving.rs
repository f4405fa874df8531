//! Go, or whoever speaks like it, takes over from ours.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use handover_proto::zero::Step;
use handover_sys::passing;
use handover_tests::patience::LONG;
use handover_tests::{Service, http};

use crate::world::{World, fixture, steps, until_step};

fn offered(world: &World, service: &Service) {
    until_step(service, "others can take over", |step| {
        *step == Step::Offered
    });
    assert!(world.is_offered());
}

fn connect(world: &World) -> UnixStream {
    let stream = UnixStream::connect(world.path()).expect("connected");
    stream.set_read_timeout(Some(LONG)).expect("set");
    stream
}

/// Go takes over; ours drains and ends with 0.
#[test]
fn a_go_server_takes_over() {
    let Some(world) = World::new() else { return };
    let program = fixture("--version ours");
    let mut service = world.first(&program).start();
    offered(&world, &service);
    let go = world.go("go1");
    let pid = go.pid();
    until_step(&service, "it is given", |step| *step == Step::Given { pid });
    assert_eq!(service.ended().code(), Some(0));
    service.until_empty();
    world.until_only("go1");
    assert!(world.is_offered(), "{}", go.log());
}

/// After an upgrade it is the listener of the version that serves.
#[test]
fn an_upgraded_service_is_taken_over_from() {
    let Some(world) = World::new() else { return };
    let program = fixture("--version 1");
    let mut service = world.first(&program).start();
    offered(&world, &service);
    program.replace(crate::FIXTURE, "--plain --version 2");
    let outcome = service.upgrade_in_place();
    assert!(handover_tests::load::committed(&outcome), "{outcome}");
    let _go = world.go("go1");
    assert_eq!(service.ended().code(), Some(0));
    world.until_only("go1");
}

/// Ours from ours, by the same exchange.
#[test]
fn one_of_ours_takes_over_from_another() {
    let Some(world) = World::new() else { return };
    let (old, new) = (fixture("--version old"), fixture("--version new"));
    let mut first = world.first(&old).start();
    offered(&world, &first);
    let second = world.taker(&new).start();
    assert_eq!(first.ended().code(), Some(0));
    second.until_alone();
    world.until_only("new");
    until_step(&second, "others can take over", |step| {
        *step == Step::Offered
    });
}

/// Of several listeners one is exchanged, and it has to be named.
#[test]
fn one_of_several_listeners_is_exchanged() {
    let Some(world) = World::new() else { return };
    let old = fixture("--version old");
    let flags = ["-l", "admin=127.0.0.1:0", "--zero-listener", "http"];
    let mut first = world.first(&old).flags(flags).start();
    offered(&world, &first);
    let new = fixture("--version new");
    let second = world.taker(&new).flags(["--listener", "web"]).start();
    assert_eq!(first.ended().code(), Some(0));
    second.until_alone();
    assert_eq!(second.status().listeners[0].name, "web");
    world.until_only("new");
}

/// Anything but the four bytes in one read closes the connection, and serving goes on.
#[test]
fn i9_whoever_says_something_else_is_turned_away() {
    let Some(world) = World::new() else { return };
    let program = fixture("--version ours");
    let service = world.first(&program).start();
    offered(&world, &service);
    for words in [
        &b"ZERX"[..],
        b"ZER",
        b"ZEROO",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 2000],
    ] {
        let mut stream = connect(&world);
        stream.write_all(words).expect("written");
        let mut buffer = [0; 16];
        // Words that nobody read make the end of the connection an error.
        let read = stream.read(&mut buffer).unwrap_or(0);
        assert_eq!(read, 0, "{words:?}");
    }
    // Silent ones hold up nobody, and one that leaves is nobody.
    let _silent = connect(&world);
    drop(connect(&world));
    assert_eq!(http::version(world.address), "ours");
    let mut stream = connect(&world);
    stream.write_all(b"ZERO").expect("written");
    let mut buffer = [9; 16];
    let received = passing::receive(stream.as_fd(), &mut buffer, 1).expect("an answer");
    assert_eq!((received.bytes, buffer[0]), (1, 0));
    let listener = handover_sys::socket::describe(&received.descriptors[0]).expect("a socket");
    assert_eq!(listener.inet, Some(world.address));
    assert_eq!(stream.read(&mut buffer).expect("the end"), 0);
    let turned = steps(&service);
    let turned = turned
        .iter()
        .filter(|step| matches!(step, Step::TurnedAway { .. }));
    assert_eq!(turned.count(), 5);
}

/// Two that ask at once: one descriptor is given, the other connection is closed.
#[test]
fn of_two_that_ask_one_is_given_the_listener() {
    let Some(world) = World::new() else { return };
    let program = fixture("--version ours");
    let mut service = world.first(&program).start();
    offered(&world, &service);
    let mut streams = [connect(&world), connect(&world)];
    for stream in &mut streams {
        stream.write_all(b"ZERO").expect("written");
    }
    let given = streams.iter().map(|stream| {
        let received = passing::receive(stream.as_fd(), &mut [0; 16], 1);
        received.map_or(0, |received| received.descriptors.len())
    });
    assert_eq!(given.sum::<usize>(), 1);
    assert_eq!(service.ended().code(), Some(0));
}

/// I5: theirs would leave nobody behind. One that dies right after it was given the listener is stood
/// in for, and the next may take over.
#[test]
fn i5_a_taker_that_dies_is_stood_in_for() {
    let Some(world) = World::new() else { return };
    let program = fixture("--version ours");
    let mut service = world.first(&program).start();
    offered(&world, &service);
    let mut go = world.go("go1");
    let pid = go.pid();
    until_step(&service, "it is given", |step| *step == Step::Given { pid });
    go.kill();
    until_step(&service, "its death is seen", |step| {
        *step == Step::TakerDied { pid }
    });
    world.until_only("ours");
    handover_tests::patience::until("others can take over again", || world.is_offered());
    let _go = world.go("go2");
    assert_eq!(service.ended().code(), Some(0));
    world.until_only("go2");
}

/// A path that nobody listens on is replaced.
#[test]
fn a_stale_path_is_replaced() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    go.kill();
    assert!(world.path().exists() && !world.is_offered());
    let program = fixture("--version ours");
    let service = world.first(&program).start();
    offered(&world, &service);
    world.until_only("ours");
}

/// What stands at the path when ours ends is removed only if it is still ours.
#[test]
fn the_path_of_another_is_left_alone() {
    let Some(world) = World::new() else { return };
    let program = fixture("--version ours");
    let mut service = world.first(&program).start();
    offered(&world, &service);
    std::fs::remove_file(world.path()).expect("removed");
    let _other = UnixListener::bind(world.path()).expect("bound");
    assert!(service.cli(&["stop"]).status.success());
    assert_eq!(service.ended().code(), Some(0));
    assert!(world.is_offered());
}

/// A process of another user is not given the listener, even where the path's mode would let it in.
#[test]
fn another_user_is_turned_away() {
    let Some(world) = World::new() else { return };
    if !handover_tests::peer::root() {
        return;
    }
    let program = fixture("--version ours");
    let service = world.first(&program).start();
    offered(&world, &service);
    let directory = world.path().parent().expect("a directory").to_owned();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).expect("set");
    std::fs::set_permissions(world.path(), PermissionsExt::from_mode(0o777)).expect("set");
    let ask = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
               s.send(b'ZERO'); print(len(s.recv(9)))";
    let asked = std::process::Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            ask,
        ])
        .arg(world.path())
        .output()
        .expect("setpriv runs");
    // Nothing, or an end with words that nobody read.
    assert_ne!(String::from_utf8_lossy(&asked.stdout), "1\n");
    until_step(&service, "it is told", |step| {
        matches!(step, Step::TurnedAway { uid: 65534, .. })
    });
    world.until_only("ours");
}
