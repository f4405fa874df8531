//! What `handover doctor --compose` says of compose files: of the example's nothing, of others what
//! stands in the way and the fix.

use std::path::Path;
use std::process::Output;

use handover_tests::service;

const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../examples/container/docker-compose.yml"
);

/// Everything that is looked at in a service.
const CHECKS: [&str; 7] = [
    "entrypoint",
    "io.balena.update.strategy",
    "io.balena.update.handover-timeout",
    "stop_grace_period",
    "restart",
    "network_mode",
    "shared volume",
];

fn doctor(file: &Path, more: &[&str]) -> Output {
    let mut command = service::clean(service::command_path());
    command.arg("doctor").arg("--compose").arg(file).args(more);
    command.output().expect("it runs")
}

#[test]
fn the_file_of_the_example_is_left_alone() {
    let output = doctor(Path::new(EXAMPLE), &["--format", "json"]);
    let found = String::from_utf8_lossy(&output.stdout);
    for check in CHECKS {
        let fine = format!("{{\"check\":\"{check}\",\"verdict\":\"ok\"");
        assert!(found.contains(&fine), "{check}: {found}");
    }
    assert!(!found.contains("\"check\":\"ports\""), "{found}");
}

#[test]
fn what_would_lose_clients_is_named_with_its_fix() {
    let example = std::fs::read_to_string(EXAMPLE).expect("it is there");
    let worse = example
        .replace("hand-over\n", "download-then-kill\n")
        .replace("\"120000\"", "\"5000\"")
        .replace("60s", "5s")
        .replace("NETWORK_MODE: host", "NETWORK_MODE: bridge")
        .replace("handover:/shared", "/shared")
        .replace(
            "HANDOVER_VOLUME",
            "HANDOVER_EXIT_WHEN_DONE: 'true'\n      HANDOVER_VOLUME",
        );
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("compose.yml");
    std::fs::write(&file, worse).expect("written");
    let output = doctor(&file, &["--service", "web"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    for check in &CHECKS[1..] {
        assert!(text.contains(&format!("BAD  {check} ")), "{check}: {text}");
    }
    for fix in [
        "fix: labels: {io.balena.update.strategy: hand-over}",
        "fix: stop_grace_period: 45s or more",
        "fix: environment: {HANDOVER_NETWORK_MODE: host}",
        "fix: leave --exit-when-done out",
    ] {
        assert!(text.contains(fix), "{fix}: {text}");
    }
}

#[test]
fn what_is_no_service_ends_with_a_usage_error() {
    let output = doctor(Path::new(EXAMPLE), &["--service", "db"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has no service db; it has web"), "{said}");
}
