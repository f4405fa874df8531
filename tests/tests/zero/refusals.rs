//! Whatever is at the path instead of a server: said, left alone, nothing started.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use handover_tests::patience::until;
use handover_tests::{Builder, peer};

use crate::world::{World, fixture};

/// What a start that is refused exits with and says.
fn refused(builder: Builder) -> (Option<i32>, String) {
    let mut service = builder.launch();
    let code = service.ended().code();
    service.until_empty();
    (code, service.stderr())
}

fn assert_refused(builder: Builder, expected: i32, words: &[&str]) {
    let (code, said) = refused(builder);
    assert_eq!(code, Some(expected), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
}

#[test]
fn what_is_no_socket_is_named_and_left_alone() {
    let Some(world) = World::new() else { return };
    let program = fixture("");
    let path = world.path();
    std::fs::create_dir(&path).expect("made");
    assert_refused(
        world.taker(&program),
        11,
        &["a directory", "nothing was started"],
    );
    assert_refused(world.first(&program), 11, &["a directory"]);
    assert!(path.is_dir());
    std::fs::remove_dir(&path).expect("removed");

    std::fs::write(&path, "data").expect("written");
    assert_refused(world.taker(&program), 11, &["a file"]);
    assert_eq!(std::fs::read(&path).expect("read"), b"data");
    std::fs::remove_file(&path).expect("removed");

    std::os::unix::fs::symlink("/nowhere/at/all", &path).expect("linked");
    assert_refused(
        world.taker(&program),
        11,
        &["/nowhere/at/all", "does not exist"],
    );
    assert!(path.is_symlink());
}

#[test]
fn take_needs_somebody_to_take_over_from() {
    let Some(world) = World::new() else { return };
    let program = fixture("");
    assert_refused(
        world.taker(&program),
        11,
        &["does not exist", "handover run --zero"],
    );
    drop(std::os::unix::net::UnixListener::bind(world.path()).expect("bound"));
    assert_refused(
        world.taker(&program),
        11,
        &["no process listens", "handover run --zero"],
    );
    let run = Builder::bare(program.path());
    let nowhere = world.path().join("deeper");
    let nowhere = nowhere.display().to_string();
    assert_refused(
        run.take().flags(["--zero", &nowhere]),
        11,
        &["cannot be connected"],
    );
    let long = format!("/tmp/{}", "x".repeat(120));
    let run = Builder::bare(program.path()).flags(["--zero", &long]);
    assert_refused(run, 2, &["at most 107"]);
    assert_refused(
        Builder::bare(program.path()).take(),
        2,
        &["take --zero PATH"],
    );
}

#[test]
fn what_the_exchange_cannot_pass_is_refused() {
    let Some(world) = World::new() else { return };
    let program = fixture("");
    let first = || world.first(&program);
    assert_refused(first().flags(["--exclusive"]), 2, &["exclusive"]);
    assert_refused(
        first().flags(["-l", "b=127.0.0.1:0"]),
        2,
        &["--zero-listener"],
    );
    assert_refused(
        first().flags(["--zero-listener", "x"]),
        2,
        &["no listener \"x\""],
    );
    let unix = world.path().with_extension("app").display().to_string();
    let unix = format!("app=unix:{unix}");
    let two = ["-l", unix.as_str(), "--zero-listener", "app"];
    assert_refused(first().flags(two), 2, &["no TCP listener"]);
    let path = world.path().display().to_string();
    let none = Builder::bare(program.path()).flags(["--zero", path.as_str()]);
    assert_refused(none, 2, &["-l NAME=ADDRESS"]);
}

/// Another address than the one that is configured: whose listener would it be?
#[test]
fn another_address_is_refused() {
    let Some(world) = World::new() else { return };
    let mut go = world.serving_go("go1");
    let program = fixture("");
    let builder = world.taker(&program).flags(["-l", "http=127.0.0.1:1"]);
    let found = format!("-l http={}", world.address);
    assert_refused(builder, 11, &["it serves on", &found]);
    assert!(!go.has_ended() && world.is_offered());
    // A version that cannot even be found costs nobody anything.
    let missing = Builder::bare(std::path::Path::new("/nowhere/server")).take();
    let path = world.path().display().to_string();
    assert_refused(missing.flags(["--zero", &path]), 11, &["/nowhere/server"]);
    world.until_only("go1");
}

/// Somebody else's socket.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stranger {
    /// A program that listens at the path, answers `ZERO` with `answer`, and serves no TCP port.
    fn at(world: &World, answer: &str, user: Option<&str>) -> Self {
        let script = "\
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
while True:
    c, _ = s.accept()
    if c.recv(1024):
        c.send(sys.argv[2].encode())
    c.close()
";
        let mut command = Command::new("setpriv");
        if let Some(user) = user {
            command.args(["--reuid", user, "--clear-groups"]);
        }
        command
            .args(["/usr/bin/python3", "-c", script])
            .arg(world.path());
        let child = command.arg(answer).stderr(Stdio::null()).spawn();
        let stranger = Self(child.expect("python3 runs"));
        until("it listens", || world.path().exists());
        stranger
    }
}

#[test]
fn another_programs_socket_is_not_asked() {
    let Some(world) = World::new() else { return };
    let mut stranger = Stranger::at(&world, "what?", None);
    let program = fixture("");
    let words = ["another program's socket", "asked for nothing", "python3"];
    assert_refused(world.taker(&program), 11, &words);
    assert_refused(world.first(&program), 11, &words);
    assert!(stranger.0.try_wait().expect("waits").is_none());
}

/// The same where it cannot be looked into: it is asked, and its answer is none.
#[test]
fn another_programs_answer_is_none() {
    let Some(world) = World::new() else { return };
    let _stranger = Stranger::at(&world, "what?", None);
    let script =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/forbid_pidfd_getfd.py");
    let script = script.display().to_string();
    let program = fixture("");
    // Whether it listens on TCP is seen even so, so one that does stands in.
    let builder = world.taker(&program).wrapper(["python3", script.as_str()]);
    assert_refused(builder, 11, &["another program's socket"]);
}

#[test]
fn another_users_server_is_refused() {
    let Some(world) = World::new() else { return };
    if !peer::root() {
        return;
    }
    let directory = world.path().parent().expect("a directory").to_owned();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).expect("set");
    let _stranger = Stranger::at(&world, "", Some("65534"));
    let program = fixture("");
    let words = ["uid 65534", "serves on", "setpriv --reuid 65534"];
    assert_refused(world.taker(&program), 11, &words);
}

#[test]
fn a_path_that_may_not_be_connected_to_is_refused() {
    let Some(world) = World::new() else { return };
    if !peer::root() {
        return;
    }
    let mut go = world.serving_go("go1");
    let directory = world.path().parent().expect("a directory").to_owned();
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).expect("set");
    std::fs::set_permissions(world.path(), PermissionsExt::from_mode(0o600)).expect("set");
    let runtime = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(runtime.path(), PermissionsExt::from_mode(0o777)).expect("set");
    let command = handover_tests::service::command_path();
    let output = handover_tests::service::clean("setpriv")
        .args(["--reuid", "65534", "--clear-groups"])
        .arg(&command)
        .args(["take", "--zero"])
        .arg(world.path())
        .arg("--runtime-dir")
        .arg(runtime.path().join("own"))
        .args(["--", "/bin/true"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains("as the user that owns it, uid 0"), "{said}");
    assert!(!go.has_ended() && world.is_offered());
}

/// A listener of another network namespace is of no use here.
#[test]
fn a_listener_of_another_network_is_refused() {
    let Some(world) = World::new() else { return };
    if !peer::root() {
        return;
    }
    let zero = peer::find("HANDOVER_TEST_ZERO").expect("found a moment ago");
    let child = Command::new("unshare")
        .args(["--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
        .arg(zero)
        .arg(world.path())
        .args([&world.address.to_string(), "go1"])
        .stderr(Stdio::null())
        .spawn();
    let mut go = Stranger(child.expect("unshare runs"));
    until("it listens", || world.is_offered());
    let program = fixture("");
    let words = [
        "another network namespace",
        "it serves on",
        "--network container:NAME",
    ];
    assert_refused(world.taker(&program), 11, &words);
    assert!(go.0.try_wait().expect("waits").is_none());
}
