//! The control socket: who may use it, and what may stand in its place.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_tests::service::clean;
use handover_tests::{Builder, Program, Service, http, peer};
use rustix::process::Signal;

use crate::FIXTURE;

fn service() -> (Program, Service) {
    let program = Program::new(FIXTURE, "--version 1");
    let service = Builder::new(program.path()).start();
    (program, service)
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
}

/// Only the owner can reach it, and whoever changes something is written down.
#[test]
fn it_is_private_and_keeps_an_account() {
    let (_program, service) = service();
    assert_eq!(mode(service.socket()), 0o600);
    assert_eq!(mode(&service.dir()), 0o700);
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
    let own = rustix::process::geteuid().as_raw();
    service.event("the account", |event| match event {
        EventKind::Audit {
            uid,
            action,
            allowed: true,
            ..
        } if *uid == own && action.contains("/v1/upgrade") => Some(()),
        _ => None,
    });
}

/// The modes opened by mistake, another user is refused all the same, and that is written down.
///
/// The 403 is the second line of defence: as it is made, the socket lets nobody else connect,
/// which the test before this one shows.
#[test]
fn another_user_is_refused_even_where_the_modes_let_them_in() {
    if !peer::root() {
        return;
    }
    let (_program, service) = service();
    for path in [service.root(), &service.dir()] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("mode set");
    }
    fs::set_permissions(service.socket(), Permissions::from_mode(0o666)).expect("mode set");
    let generation = service.status().generation;
    for (method, path) in [("POST", "upgrade"), ("POST", "stop"), ("GET", "status")] {
        let answer = clean("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .args(["curl", "--silent", "--max-time", "60", "--request", method])
            .args(["--write-out", "%{http_code}", "--unix-socket"])
            .arg(service.socket())
            .arg(format!("http://handover/v1/{path}"))
            .output()
            .expect("curl runs");
        let told = String::from_utf8_lossy(&answer.stdout);
        assert!(told.ends_with("403"), "{method} {path}: {told}");
        let action = format!("{method} /v1/{path}");
        service.event("the account", |event| match event {
            EventKind::Audit {
                uid: 65534,
                action: found,
                allowed: false,
                ..
            } if *found == action => Some(()),
            _ => None,
        });
    }
    assert_eq!(service.status().generation, generation);
}

/// `curl --unix-socket` is all it takes; what is wrong is told apart and explained.
#[test]
fn curl_is_a_client() {
    let (_program, service) = service();
    let curl = |arguments: &[&str]| {
        let answer = clean("curl")
            .args([
                "--silent",
                "--max-time",
                "60",
                "--write-out",
                "\n%{http_code}",
            ])
            .arg("--unix-socket")
            .arg(service.socket())
            .args(arguments)
            .output();
        String::from_utf8(answer.expect("curl runs").stdout).expect("text")
    };
    let status = curl(&["http://handover/v1/status"]);
    assert!(
        status.ends_with("\n200") && status.contains("incumbent"),
        "{status}"
    );
    let upgrade = curl(&["-X", "POST", "http://handover/v1/upgrade"]);
    assert!(upgrade.contains("committed"), "{upgrade}");
    let metrics = curl(&["http://handover/metrics"]);
    assert!(metrics.contains("# TYPE handover_"), "{metrics}");
    let wrong = curl(&["-d", "{\"binry\": 1}", "http://handover/v1/upgrade"]);
    assert!(
        wrong.ends_with("\n400") && wrong.contains("binry"),
        "{wrong}"
    );
    let unknown = curl(&["http://handover/v2/status"]);
    assert!(
        unknown.ends_with("\n404") && unknown.contains("/v1/status"),
        "{unknown}"
    );
}

/// A socket nobody listens on is left from an earlier life: it is replaced.
#[test]
fn a_stale_socket_is_replaced() {
    let program = Program::new(FIXTURE, "");
    let mut service = Builder::new(program.path()).start();
    service.stop(handover_proto::settings::Stop::Fast);
    assert_eq!(service.ended().code(), Some(0));
    drop(UnixListener::bind(service.socket()).expect("bound"));
    assert!(service.socket().exists());
    service.supervise();
    service.until_serving();
}

/// Something else stands in its place: it is left alone, and that is said.
#[test]
fn what_is_no_socket_is_left_alone() {
    type Put = fn(&std::path::Path);
    let puts: [Put; 2] = [
        |path| fs::write(path, "mine").expect("written"),
        |path| fs::create_dir(path).expect("created"),
    ];
    for put in puts {
        let program = Program::new(FIXTURE, "");
        let mut service = Builder::new(program.path()).start();
        service.stop(handover_proto::settings::Stop::Fast);
        assert_eq!(service.ended().code(), Some(0));
        put(service.socket());
        service.supervise();
        let code = service.ended().code();
        let told = service.stderr();
        assert!(code.is_some_and(|code| code != 0), "{told}");
        assert!(told.contains("control.sock"), "{told}");
        assert!(service.socket().exists());
        assert!(service.processes().is_empty());
    }
}

/// Taken away under a running supervisor: the service goes on, and signals still reach it.
#[test]
fn replaced_under_way_it_harms_nobody() {
    let (program, mut service) = service();
    let address = service.address();
    fs::remove_file(service.socket()).expect("removed");
    fs::write(service.socket(), "not a socket").expect("written");
    let status = service.cli(&["status"]);
    assert!(!status.status.success(), "{status:?}");
    http::until_version(address, "1");
    program.replace(FIXTURE, "--version 2");
    service.signal(Signal::HUP);
    handover_tests::patience::until("the upgrade commits", || http::version(address) == "2");
    service.signal(Signal::INT);
    assert_eq!(service.ended().code(), Some(0));
    service.until_empty();
}

/// One supervisor a service.
#[test]
fn a_second_supervisor_is_refused() {
    let (_program, service) = service();
    let incumbent = service.incumbent();
    let second = service
        .command()
        .stdout(Stdio::null())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(11), "{told}");
    let pid = service.supervisor().to_string();
    assert!(told.contains("already") && told.contains(&pid), "{told}");
    assert_eq!(service.incumbent(), incumbent);
    assert!(matches!(
        service.upgrade_in_place(),
        Outcome::Committed { .. }
    ));
}
