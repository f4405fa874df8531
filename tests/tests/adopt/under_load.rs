//! Real servers, unmodified and with the configuration that anybody would give them.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use handover_tests::stranger::free_port;
use handover_tests::{Builder, Program, Service, Stranger, load, peer};
use handover_verify::{Plan, Slow};

use crate::{FIXTURE, first_outcome, until_gone};

/// New connections only: a connection that is kept alive ends with the old program, whoever sends
/// on it in that moment.
fn new_connections(stranger: &Stranger) -> Plan {
    let mut plan = load::plan(stranger.address(), 1);
    plan.new_rate = 100.0;
    plan.keep_alive_rate = 0.0;
    plan.connections = 0;
    plan.slow = None;
    plan.upload = None;
    plan.version_header = None;
    plan
}

/// Adopts under load; the load goes on until the old program has gone. Then upgrades once more, as
/// any service.
fn adopted_under(plan: &Plan, mut stranger: Stranger, new: Builder) -> Service {
    let (sent, received) = mpsc::channel();
    let adopt = new.adopt(stranger.pid());
    let trigger = move |_| {
        let service = adopt.clone().launch();
        let outcome = first_outcome(&service);
        until_gone(&service);
        sent.send(service).expect("somebody waits");
        outcome
    };
    let report = load::run(plan, trigger, load::committed);
    load::require_lossless(&report);
    let service = received.recv().expect("the service");
    assert!(!stranger.is_alive());
    let status = service.until_alone();
    assert_eq!(status.generation.0, 2);
    assert_eq!(status.previous, None);
    assert!(load::committed(&service.upgrade_in_place()));
    service.until_alone();
    service
}

/// It has no handler for SIGTERM, and a thread a connection.
#[test]
fn pythons_http_server() {
    let words = ["python3", "-m", "http.server", "0", "--bind", "127.0.0.1"];
    let stranger = Stranger::start(&words, |_| {});
    let plan = new_connections(&stranger);
    let program = Program::new(FIXTURE, "--version new --plain");
    adopted_under(&plan, stranger, Builder::bare(program.path()));
}

/// The library's side: names are those that were given.
#[test]
fn pythons_http_server_by_a_version_with_the_library() {
    let words = ["python3", "-m", "http.server", "0", "--bind", "127.0.0.1"];
    let stranger = Stranger::start(&words, |_| {});
    let plan = new_connections(&stranger);
    let program = Program::new(FIXTURE, "--version new");
    let name = format!("http={}", stranger.address());
    let new = Builder::bare(program.path()).flags(["--listen", &name]);
    let service = adopted_under(&plan, stranger, new);
    assert!(service.status().incumbent.expect("serves").native);
}

/// A configuration of nginx with workers and a page that takes a second.
pub(crate) fn nginx_configuration(directory: &Path, version: &str, listen: &str) -> String {
    let dir = directory.display();
    fs::write(directory.join("slow"), vec![b'x'; 3000]).expect("written");
    format!(
        "worker_processes 2;\npid {dir}/{version}.pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {dir}/{version}.body;\n\
         proxy_temp_path {dir}/{version}.proxy; fastcgi_temp_path {dir}/{version}.fastcgi;\n\
         uwsgi_temp_path {dir}/{version}.uwsgi; scgi_temp_path {dir}/{version}.scgi;\n\
         server {{ listen {listen}; add_header x-version {version};\n\
         location = /slow {{ root {dir}; limit_rate 2k; }}\n\
         location / {{ return 200 \"{version}\\n\"; }} }} }}\n"
    )
}

/// nginx as Debian runs it: a master, workers, and SIGQUIT.
#[test]
fn nginx_with_workers_by_another_nginx() {
    let Some(nginx) = peer::find("HANDOVER_TEST_NGINX") else {
        return;
    };
    let path = nginx.display().to_string();
    let listen = format!("127.0.0.1:{}", free_port());
    let words = [&path, "-c", "{dir}/old.conf", "-g", "daemon off;"];
    let stranger = Stranger::start(&words, |directory| {
        for version in ["old", "new"] {
            let text = nginx_configuration(directory.path(), version, &listen);
            fs::write(directory.path().join(format!("{version}.conf")), text).expect("written");
        }
    });
    let mut plan = new_connections(&stranger);
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 3,
    });
    plan.version_header = Some("x-version".into());
    let configuration = stranger.file("new.conf").display().to_string();
    // It says `daemon on`, as Debian's does by default: under handover it stays in the foreground.
    let new = Builder::bare(&nginx)
        .args(["-c", &configuration])
        .flags(["--stop-signal", "QUIT"]);
    adopted_under(&plan, stranger, new);
}

/// Its runtime handles SIGTERM and ends at once.
#[test]
fn node() {
    let Some(node) = peer::find("HANDOVER_TEST_NODE") else {
        return;
    };
    let server = "require('node:http').createServer((q, a) => \
                  q.url === '/slow' ? setTimeout(() => a.end('slow'), 300) : a.end('old'))\
                  .listen(0, '127.0.0.1')";
    let path = node.display().to_string();
    let stranger = Stranger::start(&[&path, "-e", server], |_| {});
    let mut plan = new_connections(&stranger);
    plan.new_rate = 60.0;
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 1,
    });
    let new = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/server.js");
    let new = Builder::bare(&node).args([new.to_str().expect("a path")]);
    adopted_under(&plan, stranger, new);
}
