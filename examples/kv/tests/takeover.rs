//! The example replaces itself without a supervisor, while clients write.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handover_sys::{Pidfd, Signal};

/// Long enough for the slowest machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often it is replaced.
const UPGRADES: u64 = 20;

/// The first process, and the one that serves now.
struct Service {
    first: Child,
    serving: Pidfd,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.serving.signal(Signal::KILL);
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other(answer)),
    }
}

fn start(directory: &Path, address: SocketAddr) -> Child {
    Command::new(env!("CARGO_BIN_EXE_example-kv"))
        .arg(directory)
        .arg(address.to_string())
        .env("KV_TAKEOVER", "1")
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process that listens on the takeover socket.
fn incumbent(directory: &Path) -> Option<u32> {
    let socket = directory.join("takeover.sock");
    let request = handover::takeover::Request::Status;
    let mut replies = handover::takeover::request(socket, request).ok()?;
    match replies.next()?.ok()? {
        handover::takeover::Reply::Serving(serving) => Some(serving.pid),
        _ => None,
    }
}

#[test]
fn no_acknowledged_write_is_lost_over_twenty_self_upgrades() {
    let directory = std::env::temp_dir().join(format!("kv-takeover-{}", std::process::id()));
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let first = start(&directory, address);
    let mut service = Service {
        serving: Pidfd::open(first.id()).unwrap(),
        first,
    };
    eventually("it serves", || incumbent(&directory).is_some());

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
            std::thread::spawn(move || {
                let mut written = 0;
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("/k/{writer}-{written}");
                    ask(address, "PUT", &key, "x").unwrap();
                    written += 1;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                written
            })
        })
        .collect();
    for _ in 0..UPGRADES {
        let before = acknowledged.load(Ordering::Relaxed);
        let old = service.serving.pid();
        service.serving.signal(Signal::HUP).unwrap();
        let mut new = None;
        eventually("another one serves", || {
            new = incumbent(&directory).filter(|pid| *pid != old);
            new.is_some()
        });
        let ended = service.serving.wait(Some(DEADLINE)).unwrap();
        assert!(ended.is_some(), "the old one ends");
        service.serving = Pidfd::open(new.unwrap()).unwrap();
        eventually("writers go on", || {
            acknowledged.load(Ordering::Relaxed) > before
        });
    }
    stop.store(true, Ordering::Relaxed);
    for (writer, written) in writers.into_iter().enumerate() {
        for key in 0..written.join().unwrap() {
            let path = format!("/k/{writer}-{key}");
            assert_eq!(ask(address, "GET", &path, "").unwrap(), "x", "{path}");
        }
    }
    // Each owner had an epoch of its own.
    let last = ask(address, "PUT", "/k/last", "x").unwrap();
    let epoch = format!("\"epoch\":{}", UPGRADES + 1);
    assert!(last.contains(&epoch), "{last}");
    drop(service);
    std::fs::remove_dir_all(&directory).unwrap();
}
