//! `handover peer watch` and the library's status, on real networks.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use handover::container::Network;
use handover_tests::eventually;
use handover_tests::network::{
    Bridge, Entrypoint, Namespace, STATUS, Teller, Theirs, Wire, possible,
};
use handover_tests::patience::until;
use handover_tests::service::command_path;
use serde_json::Value;

use crate::WIRE;

/// Starts it with these flags; it listens.
fn watch(namespace: &Namespace, flags: &[&str]) -> Entrypoint {
    let watch = start(namespace, flags);
    watch.until_mentions("listens to 239.192.16.16:1537 on ");
    watch
}

fn start(namespace: &Namespace, flags: &[&str]) -> Entrypoint {
    let mut command = namespace.command(command_path());
    command
        .args(["peer", "watch", "--settle", "0s"])
        .args(flags);
    Entrypoint::plain(command)
}

/// Waits for a change that is as wanted.
fn change(watch: &Entrypoint, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually("a change", || {
        let mut changes = watch.said("status").into_iter();
        changes.find(|change| wanted(change))
    })
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn changes_are_told_through_a_flood_of_garbage() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let watch = watch(&bridge.join(), &["--json", "--service", "api"]);
    let flood = Wire::flooding(&bridge.join(), WIRE, 7, &[STATUS]);
    watch.until_mentions("no status");
    let (old, young) = (bridge.join(), bridge.join());
    let old = Teller::new(&old, "api", 1_000);
    let other = Teller::new(&young, "other", 3_000);
    let young = Teller::new(&young, "api", 2_000);
    other.up().expect("it is told");
    old.up().expect("it is told");
    let up = change(&watch, |change| change["change"] == "up");
    assert_eq!(up["serving"]["address"], "10.77.0.4", "{up}");
    assert_eq!(up["rerouted"], true, "{up}");
    young.up().expect("it is told");
    let up = change(&watch, |change| change["instance"]["started_ms"] == 2_000);
    assert_eq!(up["serving"]["address"], "10.77.0.5", "{up}");
    old.down().expect("it is told");
    let down = change(&watch, |change| change["change"] == "down");
    assert_eq!(down["instance"]["address"], "10.77.0.4", "{down}");
    assert_eq!(down["serving"]["address"], "10.77.0.5", "{down}");
    assert_eq!(down["rerouted"], false, "{down}");
    young.down().expect("it is told");
    let down = change(&watch, |change| change["serving"].is_null());
    assert_eq!(down["rerouted"], true, "{down}");
    drop(flood);
    assert!(
        watch
            .said("status")
            .iter()
            .all(|change| change["service"] == "api")
    );
    assert!(watch.is_alive());
}

#[test]
fn a_command_that_fails_is_run_again_and_never_two_at_once() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let script = "cd \"$DIRECTORY\"
        mkdir running 2> /dev/null || echo overlap >> log
        echo \"$HANDOVER_SERVICE $HANDOVER_STATUS $HANDOVER_ADDRESS ($HANDOVER_UP)\" >> log
        sleep 0.2
        rmdir running
        test ! -e broken";
    fs::write(path("broken"), "").expect("written");
    let namespace = bridge.join();
    let mut command = namespace.command(command_path());
    command.args(["peer", "watch", "--settle", "0s", "--exec", script]);
    command.env("DIRECTORY", directory.path());
    let watch = Entrypoint::plain(command);
    watch.until_mentions("listens to");

    let (old, young) = (bridge.join(), bridge.join());
    let other = Teller::new(&old, "other", 1);
    let old = Teller::new(&old, "api", 1);
    let young = Teller::new(&young, "api", 2);
    old.up().expect("it is told");
    other.up().expect("it is told");
    until("both were tried twice", || {
        let tried = |name| {
            lines(&path("log"))
                .iter()
                .filter(|line| line.starts_with(name))
                .count()
        };
        tried("api UP 10.77.0.3 ") >= 2 && tried("other UP ") >= 2
    });
    watch.until_mentions("tried again in");
    young.up().expect("it is told");
    old.down().expect("it is told");
    fs::remove_file(path("broken")).expect("it is there");
    let last = "api UP 10.77.0.4 (10.77.0.4)";
    until("the latest state", || {
        lines(&path("log")).contains(&last.to_owned())
    });
    let overlaps = |lines: Vec<String>| lines.iter().any(|line| line == "overlap");
    assert!(!overlaps(lines(&path("log"))), "{:?}", lines(&path("log")));

    // Two at once would have been seen.
    drop(watch);
    let _ = fs::create_dir(path("running"));
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .env("DIRECTORY", directory.path());
    assert!(shell.status().expect("a shell").success());
    assert!(overlaps(lines(&path("log"))));
}

#[test]
fn a_template_becomes_a_file_that_is_replaced_at_once() {
    if !possible() {
        return;
    }
    let bridge = Bridge::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let text = "{% for s in services %}{{ s.name }}={{ s.status }}@{{ s.address }};{% endfor %}\n";
    fs::write(path("in"), text).expect("written");
    let (input, output, seen) = (path("in"), path("out"), path("seen"));
    let flags = |path: &Path| path.to_str().expect("text").to_owned();
    let exec = format!("cat {} >> {}", flags(&output), flags(&seen));
    let flags = [
        "--template".to_owned(),
        flags(&input),
        "--output".to_owned(),
        flags(&output),
        "--exec".to_owned(),
        exec,
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let watch = watch(&bridge.join(), &flags);
    assert!(!output.exists(), "nothing was heard yet");
    let namespace = bridge.join();
    let api = Teller::new(&namespace, "api", 1);
    api.up().expect("it is told");
    until("the file", || lines(&output) == ["api=UP@10.77.0.3;"]);
    api.down().expect("it is told");
    until("the file", || lines(&output) == ["api=DOWN@10.77.0.3;"]);
    let both = ["api=UP@10.77.0.3;", "api=DOWN@10.77.0.3;"];
    until("both were seen by the command", || lines(&seen) == both);
    drop(watch);
}

#[test]
fn an_interface_that_comes_late_is_waited_for_on_both_sides() {
    if !possible() {
        return;
    }
    let device = Arc::new(Namespace::new());
    let network = Network::Host {
        interface: "supervisor0".to_owned(),
    };
    let watch = start(&device, &["--json", "--network-mode", "host"]);
    watch.until_mentions("interface supervisor0 is missing or has no IPv4 address");
    let status = Teller::on(&device, network, "api", 1);
    let why = status.up().expect_err("there is no interface");
    assert!(why.contains("supervisor0"), "{why}");
    device.ip([
        // Another network of the device, on which nothing is to be told.
        "link add lan0 type bridge mcast_snooping 0",
        "address add 10.99.0.1/24 dev lan0",
        "link set lan0 up",
    ]);
    assert!(watch.said("status").is_empty());
    device.ip([
        "link add supervisor0 type bridge mcast_snooping 0",
        "address add 10.114.104.1/25 dev supervisor0",
        "link set supervisor0 up",
    ]);
    watch.until_mentions("listens to 239.192.16.16:1537 on supervisor0");
    let up = change(&watch, |change| change["change"] == "up");
    let told = serde_json::json!(["10.114.104.1", "10.99.0.1"]);
    assert_eq!(up["instance"]["addresses"], told, "{up}");
    assert_eq!(up["instance"]["address"], "10.114.104.1", "{up}");
}

#[test]
fn node_hears_up_and_then_down_again_and_again() {
    let Some(theirs) = Theirs::installed().filter(|_| possible()) else {
        return;
    };
    let bridge = Bridge::new();
    let reader = theirs.status_reader(&bridge.container());
    let namespace = bridge.join();
    let status = Teller::new(&namespace, "api", 1_653_000_000_123);
    let said = |word: &str| {
        let said = reader.said("status").into_iter();
        said.filter(|said| said["status"] == word)
            .collect::<Vec<_>>()
    };
    status.up().expect("it is told");
    until("UP", || !said("UP").is_empty());
    let up = said("UP").remove(0);
    assert_eq!(up["name"], "api");
    assert_eq!(up["started_ms"], 1_653_000_000_123_i64);
    assert_eq!(up["addresses"], serde_json::json!(["10.77.0.3"]));
    status.down().expect("it is told");
    until("DOWN, repeated", || said("DOWN").len() >= 5);
    drop(status);
}
