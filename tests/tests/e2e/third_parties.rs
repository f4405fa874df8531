//! Servers of others, unmodified: gunicorn and Node, upgraded under load.

use std::path::{Path, PathBuf};

use handover_proto::event::Readiness;
use handover_tests::{Builder, Service, http, load, peer};

/// Each at least so often.
const UPGRADES: u32 = 5;

/// A file beside the tests.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("peers")
        .join(name)
}

/// Interpreted servers answer a few hundred requests a second here, not thousands.
fn upgraded(service: &Service) {
    service.until_serving();
    let address = service.address();
    let first = http::pid(address);
    let mut plan = load::plan(address, UPGRADES);
    plan.new_rate = 60.0;
    plan.keep_alive_rate = 60.0;
    plan.connections = 3;
    // One request a worker: as many as leave some of four free.
    plan.slow.as_mut().expect("a part of it").concurrency = 1;
    plan.upload.as_mut().expect("a part of it").concurrency = 1;
    plan.version_header = None;
    let control = service.control();
    let report = load::run(&plan, move |_| control.upgrade_in_place(), load::committed);
    load::require_lossless(&report);
    let status = service.until_alone();
    assert_eq!(status.generation.0, u64::from(UPGRADES) + 1);
    assert_ne!(http::pid(address), first);
}

fn readiness(service: &Service) -> Vec<Readiness> {
    let events = service.events();
    let how = |event: &handover_proto::event::Event| match event.kind {
        handover_proto::event::EventKind::InstanceReady { how, .. } => Some(how),
        _ => None,
    };
    events.iter().filter_map(how).collect()
}

fn gunicorn(flags: &[&str]) -> Option<Service> {
    let gunicorn = peer::find("HANDOVER_TEST_GUNICORN")?;
    let folder = file("").display().to_string();
    // Its usual workers, `sync`. Its threaded ones drop, when told to stop, each connection they
    // have accepted and not yet read from: that loses requests under any supervisor.
    let builder = Builder::new(&gunicorn)
        .flags(flags.iter().copied())
        .args(["--workers", "4", "--graceful-timeout", "10"])
        .args(["--worker-tmp-dir", "/dev/shm", "--chdir", &folder])
        .args(["--log-level", "warning", "wsgi_app:app"]);
    Some(builder.start())
}

/// gunicorn takes `LISTEN_FDS` and sends `READY=1` once its workers were started.
#[test]
fn gunicorn_that_notifies_is_upgraded_without_loss() {
    let Some(service) = gunicorn(&["--ready", "notify"]) else {
        return;
    };
    upgraded(&service);
    assert!(
        readiness(&service)
            .iter()
            .all(|how| *how == Readiness::Notify)
    );
}

/// The same with nothing configured.
#[test]
fn gunicorn_is_upgraded_without_loss_as_it_is() {
    let Some(service) = gunicorn(&[]) else {
        return;
    };
    upgraded(&service);
}

fn node(flags: &[&str]) -> Option<Service> {
    let node = peer::find("HANDOVER_TEST_NODE")?;
    let script = file("server.js").display().to_string();
    let builder = Builder::new(&node).flags(flags.iter().copied());
    Some(builder.args([script.as_str()]).start())
}

/// Node listens on the passed descriptor; who answers the probe is asked of the kernel.
#[test]
fn node_is_upgraded_without_loss() {
    let Some(service) = node(&["--ready", "http:/"]) else {
        return;
    };
    upgraded(&service);
    assert!(
        readiness(&service)
            .iter()
            .all(|how| *how == Readiness::Probe)
    );
}

/// The same with nothing configured.
#[test]
fn node_is_upgraded_without_loss_as_it_is() {
    let Some(service) = node(&[]) else {
        return;
    };
    upgraded(&service);
}
