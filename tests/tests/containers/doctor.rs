//! `handover doctor --container` in containers on networks that are whole, where it finds nothing,
//! and on networks that are not, where it names what is wrong.

use std::path::Path;
use std::process::Output;

use handover_tests::network::{Bridge, Container, Lan, possible};
use handover_tests::{peer, service};
use serde_json::Value;

/// What the doctor says in this container.
struct Examination {
    findings: Vec<Value>,
    code: Option<i32>,
}

impl Examination {
    fn of(container: &Container, variables: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut command = container.command(service::command_path());
        command.args(["doctor", "--container", "--format", "json"]);
        let output: Output = command
            .args(flags)
            .envs(variables.iter().copied())
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let findings = text.lines().map(serde_json::from_str);
        Self {
            findings: findings.collect::<Result<_, _>>().expect("JSON"),
            code: output.status.code(),
        }
    }

    /// The verdict, and what was found.
    fn on(&self, check: &str) -> (&str, &str) {
        let found = self.findings.iter().find(|one| one["check"] == check);
        let found = found.unwrap_or_else(|| panic!("{check}: {:?}", self.findings));
        let text = |key: &str| found[key].as_str().expect("text");
        (text("verdict"), text("found"))
    }

    #[track_caller]
    fn is_well(&self, checks: &[&str]) {
        for check in checks {
            let (verdict, found) = self.on(check);
            assert_eq!(verdict, "ok", "{check}: {found}");
        }
    }

    #[track_caller]
    fn is_bad(&self, check: &str, expected: &str) {
        let (verdict, found) = self.on(check);
        assert_eq!(verdict, "bad", "{check}: {found}");
        assert!(found.contains(expected), "{check}: {found}");
        assert_eq!(self.code, Some(1));
    }
}

fn on_bridge() -> Option<(Bridge, Container)> {
    possible().then(|| {
        let bridge = Bridge::new();
        let container = bridge.container();
        (bridge, container)
    })
}

#[test]
fn a_container_on_a_bridge_is_well() {
    let Some((_bridge, container)) = on_bridge() else {
        return;
    };
    let shared = container.file("/tmp/shared");
    std::fs::create_dir(&shared).expect("made");
    let found = Examination::of(&container, &[("HANDOVER_VOLUME", "/tmp/shared")], &[]);
    found.is_well(&[
        "variables",
        "network mode",
        "interface",
        "multicast on eth0",
        "volume",
        "key",
        "platform",
        "handover-complete file",
    ]);
    assert_eq!(found.on("interface").1, "eth0");
    // It has left nothing in the volume.
    assert_eq!(std::fs::read_dir(shared).expect("read").count(), 0);
}

#[test]
fn one_without_ipv4_is_told_whom_it_does_not_reach() {
    if !possible() {
        return;
    }
    let bridge = Bridge::ipv6_only();
    let found = Examination::of(&bridge.container(), &[], &[]);
    let (verdict, text) = found.on("interface");
    assert_eq!(verdict, "note");
    assert!(
        text.contains("peers of handover-lib are not reached"),
        "{text}"
    );
    found.is_well(&["multicast on eth0"]);
}

#[test]
fn an_interface_that_takes_no_multicast_is_named() {
    let Some((_bridge, container)) = on_bridge() else {
        return;
    };
    container.network().ip(["link set eth0 multicast off"]);
    let found = Examination::of(&container, &[], &[]);
    found.is_bad("interface", "eth0 takes no multicast");
    container.network().ip(["link set eth0 multicast on"]);
    Examination::of(&container, &[], &[]).is_well(&["interface", "multicast on eth0"]);
}

#[test]
fn a_packet_filter_is_felt() {
    let nft = peer::installed("nft");
    let (Some(nft), Some((_bridge, container))) = (nft, on_bridge()) else {
        return;
    };
    Examination::of(&container, &[], &[]).is_well(&["multicast on eth0"]);
    let rules = [
        "add table ip filter",
        "add chain ip filter input { type filter hook input priority 0; }",
        "add rule ip filter input ip daddr 224.0.0.0/4 drop",
    ];
    filter(&container, &nft, &rules.join("\n"));
    let found = Examination::of(&container, &[], &[]);
    found.is_bad("multicast on eth0", "blocked: what is sent is not heard");
    // A volume is another way, so it is no more than a note.
    std::fs::create_dir(container.file("/tmp/shared")).expect("made");
    let found = Examination::of(&container, &[], &["--volume", "/tmp/shared"]);
    assert_eq!(found.on("multicast on eth0").0, "note");
}

fn filter(container: &Container, nft: &Path, rules: &str) {
    let mut command = container.network().command(nft);
    let output = command.arg(rules).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft: {said}");
}

#[test]
fn groups_that_cannot_be_joined_are_felt() {
    let Some((_bridge, container)) = on_bridge() else {
        return;
    };
    let memberships = |most: &str| {
        let line = format!("echo {most} > /proc/sys/net/ipv4/igmp_max_memberships");
        let mut shell = container.network().command("sh");
        let status = shell.args(["-c", &line]).status();
        assert!(status.expect("sh is there").success());
    };
    memberships("0");
    let found = Examination::of(&container, &[], &[]);
    found.is_bad("multicast on eth0", "blocked: ");
    memberships("20");
    Examination::of(&container, &[], &[]).is_well(&["multicast on eth0"]);
}

#[test]
fn host_mode_needs_the_bridge_of_its_device() {
    if !possible() {
        return;
    }
    let lan = Lan::without_bridges(1);
    let device = &lan.devices()[0];
    let host = [("HANDOVER_NETWORK_MODE", "host")];
    let container = device.container();
    let found = Examination::of(&container, &host, &[]);
    found.is_bad("interface", "supervisor0 is missing; there are lo, eth0");
    device.add_bridge();
    let found = Examination::of(&container, &host, &[]);
    found.is_well(&[
        "variables",
        "network mode",
        "interface",
        "multicast on supervisor0",
    ]);
    // Nothing is sent where other devices hear it.
    let named = |check: &str| found.findings.iter().any(|one| one["check"] == check);
    assert!(!named("multicast on eth0"));
    // The other mode would.
    let found = Examination::of(&container, &[], &[]);
    found.is_bad("network mode", "supervisor0 is here");
    found.is_well(&["multicast on eth0"]);
}

#[test]
fn each_variable_that_cannot_be_read_is_named() {
    let Some((_bridge, container)) = on_bridge() else {
        return;
    };
    let variables = [("HANDOVER_NETWORK_MODE", "both"), ("SHUTDOWN_PORT", "0")];
    let found = Examination::of(&container, &variables, &[]);
    found.is_bad("HANDOVER_NETWORK_MODE", "\"both\", expected bridge or host");
    found.is_bad("SHUTDOWN_PORT", "\"0\", expected a port");
}

#[test]
fn a_device_of_balena_is_told_when_its_containers_are_stopped() {
    let Some((_bridge, container)) = on_bridge() else {
        return;
    };
    let with = |version| {
        let variables = [("BALENA", "1"), ("BALENA_SUPERVISOR_VERSION", version)];
        let found = Examination::of(&container, &variables, &[]);
        found.is_well(&["handover-complete file"]);
        let (verdict, text) = found.on("platform");
        (verdict.to_owned(), text.to_owned())
    };
    assert_eq!(with("14.13.9").0, "ok");
    let (verdict, text) = with("14.13.10");
    assert_eq!(verdict, "note");
    assert!(
        text.contains("SIGTERM then completes the handover"),
        "{text}"
    );
}
