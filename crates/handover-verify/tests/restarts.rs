//! Real server processes, upgraded well and badly: the tester must tell which.

use handover_verify::{CommandTrigger, Load, LossKind, Plan, Report, Slow, TriggerReport, run};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Tells this test binary to be a server: the address to bind, or `inherited`
/// for the listener on its standard input.
const SERVE: &str = "VERIFY_TEST_SERVE";
/// The version the server tells.
const VERSION: &str = "VERIFY_TEST_VERSION";

/// Not a test but the server process, when [`SERVE`] is set.
#[test]
fn serve() {
    let Ok(address) = std::env::var(SERVE) else {
        return;
    };
    let version = std::env::var(VERSION).unwrap_or_else(|_| "?".into());
    let listener = if address == "inherited" {
        TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap())
    } else {
        TcpListener::bind(address).unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(accept(listener, version));
    // Past the test harness, which has nothing to report.
    std::process::exit(0);
}

/// Serves until SIGTERM, then takes no more connections, announces the close of
/// the open ones with their next answer, and ends when they are gone.
async fn accept(listener: TcpListener, version: String) {
    use tokio::signal::unix::{SignalKind, signal};
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut terminate = signal(SignalKind::terminate()).unwrap();
    let draining = Arc::new(AtomicBool::new(false));
    let open = Arc::new(AtomicUsize::new(0));
    println!("\nready");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                open.fetch_add(1, SeqCst);
                let (draining, open, version) =
                    (Arc::clone(&draining), Arc::clone(&open), version.clone());
                tokio::spawn(async move {
                    // The client's going away is no fault of the server.
                    let _ = answer(stream, &draining, &version).await;
                    open.fetch_sub(1, SeqCst);
                });
            }
        }
    }
    drop(listener);
    draining.store(true, SeqCst);
    while open.load(SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn answer(
    mut stream: TcpStream,
    draining: &AtomicBool,
    version: &str,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&head).to_lowercase();
        if text.starts_with("get /slow") {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let close = text.contains("connection: close") || draining.load(SeqCst);
        let connection = if close { "close" } else { "keep-alive" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Version: {version}\r\nConnection: {connection}\r\n\
             Content-Length: 2\r\n\r\nok"
        );
        stream.write_all(answer.as_bytes()).await?;
        if close {
            return stream.shutdown().await;
        }
        head.clear();
    }
}

/// A server process, killed when dropped.
struct Process(Child);

impl Process {
    fn start(serve: &str, listener: Stdio, version: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serve", "--nocapture"])
            .env(SERVE, serve)
            .env(VERSION, version)
            .stdin(listener)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap() == "ready"),
            "the server did not start"
        );
        Self(child)
    }

    fn terminate(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn plan(addr: SocketAddr) -> Plan {
    let mut plan = Plan::new(&format!("http://{addr}/")).unwrap();
    plan.new_rate = 200.0;
    plan.keep_alive_rate = 200.0;
    plan.slow = Some(Slow {
        path: "/slow".into(),
        concurrency: 4,
    });
    plan.warm_up = Duration::from_millis(400);
    plan.cool_down = Duration::from_millis(400);
    plan.interval = Duration::from_millis(200);
    plan.upgrades = 3;
    plan
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_listener_and_a_drain_lose_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let start = |version: &str| {
        let listener = OwnedFd::from(listener.try_clone().unwrap());
        Process::start("inherited", listener.into(), version)
    };
    let mut serving = Some(start("0"));
    let upgrade = |n: u32| {
        let old = serving.replace(start(&n.to_string()));
        async move {
            tokio::task::spawn_blocking(|| old.map(Process::terminate))
                .await
                .unwrap();
            let (label, outcome) = (format!("to {n}"), "committed".to_owned());
            Ok(TriggerReport {
                label,
                outcome,
                as_expected: true,
            })
        }
    };
    let report = run(&plan(addr), upgrade, |_| {}).await.unwrap();
    assert!(report.lossless(), "{}", report.table());
    let keep_alive = report.client(Load::KeepAlive).unwrap();
    assert!(keep_alive.told_to_close >= 12, "{}", report.table());
    assert!(report.client(Load::Slow).unwrap().answered > 0);
    for upgrade in &report.upgrades {
        assert_eq!(
            upgrade.version_after,
            Some(upgrade.n.to_string()),
            "{}",
            report.table()
        );
        assert!(upgrade.first_answer_by_new_ms.is_some());
    }
}

/// Free, and below the ports the kernel gives to clients: while the server is
/// down, one of the load's own connections could be given it.
fn free_address() -> SocketAddr {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..32_000)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|addr| TcpListener::bind(addr).is_ok())
        .unwrap()
}

/// Kills what is written in the pid file, at the end.
struct Leftover<'a>(&'a Path);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(self.0).unwrap_or_default();
        let pid = text
            .trim()
            .parse()
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

async fn restart(signal: &str) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let _leftover = Leftover(&pid_file);
    let addr = free_address();
    let first = Process::start(&addr.to_string(), Stdio::null(), "0");
    std::fs::write(&pid_file, first.0.id().to_string()).unwrap();
    let exe = std::env::current_exe().unwrap();
    let command = format!(
        "p=$(cat '{pid}'); kill -{signal} $p; \
         while kill -0 $p 2>/dev/null && ! grep -q ') Z ' /proc/$p/stat; do :; done; \
         {SERVE}={addr} {VERSION}=$UPGRADE_NUMBER '{exe}' --exact serve --nocapture & \
         echo $! > '{pid}'; sleep 0.2",
        pid = pid_file.display(),
        exe = exe.display(),
    );
    let report = run(&plan(addr), CommandTrigger::new(command), |_| {})
        .await
        .unwrap();
    drop(first);
    report
}

#[tokio::test]
async fn kill_and_start_is_found_lossy() {
    let report = restart("KILL").await;
    assert!(!report.lossless());
    assert_eq!(report.unexpected_upgrades(), 0, "{}", report.table());
    assert!(report.lost(LossKind::Refused) > 0, "{}", report.table());
    // Slow requests were under way at each kill.
    let slow = report.client(Load::Slow).unwrap();
    assert!(
        slow.lost(LossKind::Cut) + slow.lost(LossKind::Reset) > 0,
        "{}",
        report.table()
    );
    for upgrade in &report.upgrades {
        assert!(upgrade.failed > 0, "{}", report.table());
        assert!(upgrade.dark_window_ms > 0.0 && upgrade.first_answer_by_new_ms.is_some());
        assert!(upgrade.latency.count > 0);
    }
    assert!(report.lost(LossKind::Other) == 0, "{}", report.table());
}

#[tokio::test]
async fn a_graceful_stop_and_start_is_found_lossy_too() {
    let report = restart("TERM").await;
    assert!(!report.lossless());
    assert!(report.lost(LossKind::Refused) > 0, "{}", report.table());
    // It answered what it had begun.
    let slow = report.client(Load::Slow).unwrap();
    assert_eq!(slow.lost(LossKind::Cut), 0, "{}", report.table());
}
