//! Whoever may not take over, and whatever must not be replaced.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use handover_proto::frame::Decoded;
use handover_proto::takeover::{Answer, Reader, RefusedFor};
use handover_sys::{Exit, Signal};

use crate::world::{World, ask, descriptors, eventually};

#[test]
fn of_two_that_come_at_once_one_wins_and_one_is_told_why() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    world.version("2 wait");
    let first = world.start();
    first.says("at");
    let second = world.start();
    let reason = second.says("refused:");
    assert!(reason.contains("another handover is running"), "{reason}");
    assert_eq!(second.ends(), Exit::Code(1));
    world.go();
    first.says("ready 2");
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(ask(&address), ("2".into(), first.pid()));
}

#[test]
fn two_that_start_from_nothing_become_one_after_the_other() {
    let world = World::new("tokio");
    let actors = [world.start(), world.start()];
    let one_ends = || actors.iter().filter(|actor| !actor.lives()).count() == 1;
    eventually("one has taken over from the other", one_ends);
    let serving = actors.iter().find(|actor| actor.lives()).expect("one");
    let address = serving.says("at ");
    assert_eq!(ask(&address).1, serving.pid());
}

#[test]
fn of_a_crowd_one_is_left_and_nobody_is_told_anything_else() {
    let world = World::new("tokio");
    let (first, address) = world.serving();
    let stop = Arc::new(AtomicBool::new(false));
    let client = {
        let (stop, address) = (Arc::clone(&stop), address.clone());
        std::thread::spawn(move || {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                ask(&address);
                answers += 1;
            }
            answers
        })
    };
    for _ in 0..5 {
        let crowd: Vec<_> = (0..6).map(|_| world.start()).collect();
        let settled = || crowd.iter().filter(|actor| actor.lives()).count() == 1;
        eventually("one is left", settled);
        for actor in crowd {
            if actor.lives() {
                // The next ones take over from it.
                std::mem::forget(actor);
                continue;
            }
            let lines = actor.all();
            let refused = lines.iter().find(|line| line.contains("refused:"));
            let busy = |line: &String| line.contains("another handover is running");
            let served = lines.iter().any(|line| line.ends_with("ends"));
            assert!(served || refused.is_some_and(busy), "{lines:?}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    assert!(client.join().expect("no connection is refused or lost") > 0);
    assert_eq!(first.ends(), Exit::Code(0));
    let (_, last) = ask(&address);
    drop(crate::world::Orphan::of(last));
}

#[test]
fn another_service_is_refused() {
    let mut world = World::new("tokio");
    let path = world.path("t.sock").display().to_string();
    world.set("ACTOR_SOCKET", &path);
    let (old, address) = world.serving();
    world.set("ACTOR_SERVICE", "other");
    let other = world.start();
    let reason = other.says("refused:");
    assert!(reason.contains("\"web\", not \"other\""), "{reason}");
    assert_eq!(other.ends(), Exit::Code(1));
    assert_eq!(ask(&address).1, old.pid());
}

#[test]
fn another_network_namespace_is_refused_with_the_ways_out() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    let output = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "actor::role", "--nocapture"])
        .envs(world.environment())
        .output()
        .expect("unshare, of util-linux; this test needs root");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said.contains("another network namespace"), "{said}");
    assert!(said.contains("--network container:"), "{said}");
    assert_eq!(ask(&address).1, old.pid());
}

#[test]
fn another_user_is_refused() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    // Even where the file's mode would let it in.
    for path in ["", "run", "run/web"] {
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(world.path(path), open).expect("ours");
    }
    let everybody = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(world.socket(), everybody).expect("ours");
    let script = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                  s.sendall(bytes.fromhex(sys.argv[2])); sys.stdout.buffer.write(s.recv(4096))";
    let ask_status = handover_proto::takeover::encode_ask(&handover_proto::takeover::Ask::Status);
    let hex: String = ask_status
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .arg(world.socket())
        .arg(hex)
        .uid(65534)
        .gid(65534)
        .stderr(Stdio::inherit())
        .output()
        .expect("python3, which the test suite installs; this test needs root");
    let mut reader = Reader::new();
    reader.push(&output.stdout).expect("an answer");
    let Ok(Some(Decoded::Message(Answer::Refused { cause, reason }))) = reader.next_answer() else {
        panic!("{output:?}")
    };
    assert_eq!(cause, RefusedFor::Uid);
    assert!(reason.contains("uid 65534"), "{reason}");
    assert_eq!(ask(&address).1, old.pid());
}

#[test]
fn whatever_is_no_takeover_socket_is_left_alone() {
    let mut world = World::new("tokio");
    let path = world.path("t.sock");
    world.set("ACTOR_SOCKET", &path.display().to_string());
    type Make = fn(&std::path::Path);
    let cases: [(&str, Make); 4] = [
        ("a directory", |path| {
            std::fs::create_dir(path).expect("made")
        }),
        ("a dangling symbolic link", |path| {
            symlink("/nowhere", path).expect("made")
        }),
        ("a symbolic link", |path| symlink("/", path).expect("made")),
        ("a regular file", |path| {
            std::fs::write(path, "x").expect("made")
        }),
    ];
    for (what, make) in cases {
        make(&path);
        let before = std::fs::symlink_metadata(&path).expect("it is there");
        let actor = world.start();
        let reason = actor.says("refused: start:");
        assert!(reason.contains(what), "{what}: {reason}");
        assert_eq!(actor.ends(), Exit::Code(1));
        let after = std::fs::symlink_metadata(&path).expect("it still is");
        assert_eq!(before.file_type(), after.file_type());
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_dir(&path);
    }
}

#[test]
fn the_socket_of_another_program_is_left_alone() {
    let mut world = World::new("tokio");
    let path = world.path("t.sock");
    world.set("ACTOR_SOCKET", &path.display().to_string());
    let listener = UnixListener::bind(&path).expect("free");
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody comes");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .expect("it listens");
        let _ = stream.read_to_end(&mut Vec::new());
        listener
    });
    let actor = world.start();
    let reason = actor.says("refused: start:");
    assert!(reason.contains("another program"), "{reason}");
    assert_eq!(actor.ends(), Exit::Code(1));
    let listener = served.join().expect("served");
    // One that says nothing is not told from one that is stopped.
    let actor = world.start();
    let (_held, _) = listener.accept().expect("somebody comes");
    let reason = actor.says("refused: start:");
    assert!(reason.contains("did not answer within 5s"), "{reason}");
    assert!(
        reason.contains(&format!("process {}", std::process::id())),
        "{reason}"
    );
    assert!(UnixStream::connect(&path).is_ok(), "it is still there");
}

#[test]
fn a_stale_socket_is_replaced() {
    let world = World::new("tokio");
    let (old, _) = world.serving();
    old.signal(Signal::KILL);
    old.ends();
    assert!(world.socket().exists());
    world.version("2");
    let (new, address) = world.serving();
    assert_eq!(ask(&address), ("2".into(), new.pid()));
}

#[test]
fn what_strangers_say_costs_nothing() {
    let world = World::new("tokio");
    let (old, address) = world.serving();
    let before = descriptors(old.pid());
    for begin in [&b"ZERO"[..], b"handover", b"handover\xff\xff\xff\xff", b""] {
        let mut stream = UnixStream::connect(world.socket()).expect("it listens");
        stream.write_all(begin).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("ours");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    eventually("their connections are closed", || {
        descriptors(old.pid()) <= before
    });
    let (new, _) = world.serving();
    assert_eq!(old.ends(), Exit::Code(0));
    assert_eq!(ask(&address).1, new.pid());
}
