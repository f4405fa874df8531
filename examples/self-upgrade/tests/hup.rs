//! The example as a user runs it: its file is replaced, a signal is sent, and clients notice
//! nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handover_sys::{Pidfd, Signal};

/// Long enough for the slowest machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

/// Every process whose id was in the pid file, killed at the end.
struct World {
    directory: tempfile::TempDir,
    first: Child,
    seen: Vec<Pidfd>,
}

impl Drop for World {
    fn drop(&mut self) {
        for process in &self.seen {
            let _ = process.signal(Signal::KILL);
        }
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The process that serves, by its pid file.
    fn serving(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path("pid")).ok()?;
        text.trim().parse().ok()
    }

    fn hold(&mut self, pid: u32) {
        self.seen.push(Pidfd::open(pid).unwrap());
    }
}

/// Puts a copy of the example at a path, as an installer does: beside it, then renamed.
fn install(path: &Path) -> u64 {
    let beside = path.with_extension("new");
    fs::copy(env!("CARGO_BIN_EXE_example-self-upgrade"), &beside).unwrap();
    fs::rename(&beside, path).unwrap();
    fs::metadata(path).unwrap().ino()
}

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn five_times_replaced_under_load_and_no_request_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let program = directory.path().join("hello");
    install(&program);
    let first = Command::new(&program)
        .args([&address.to_string(), "pid"])
        .current_dir(directory.path())
        .env("HANDOVER_RUNTIME_DIR", directory.path().join("run"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut world = World {
        directory,
        first,
        seen: Vec::new(),
    };
    eventually("it serves", || {
        world.serving().is_some() && get(address).is_ok()
    });

    let stop = Arc::new(AtomicBool::new(false));
    let (answered, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (stop, answered, failed) = (stop.clone(), answered.clone(), failed.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match get(address) {
                        Ok(answer) if answer.contains("hello from") => &answered,
                        Ok(_) | Err(_) => &failed,
                    }
                    .fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let old = world.serving().unwrap();
        world.hold(old);
        let file = install(&program);
        let before = answered.load(Ordering::Relaxed);
        world.seen.last().unwrap().signal(Signal::HUP).unwrap();
        eventually("another one serves", || world.serving() != Some(old));
        let new = world.serving().unwrap();
        let exe = fs::metadata(format!("/proc/{new}/exe")).unwrap();
        assert_eq!(exe.ino(), file, "the file that is there now");
        let old = world.seen.last().unwrap();
        assert!(
            old.wait(Some(DEADLINE)).unwrap().is_some(),
            "the old one ends"
        );
        eventually("clients go on", || {
            answered.load(Ordering::Relaxed) > before
        });
    }
    let last = world.serving().unwrap();
    world.hold(last);
    stop.store(true, Ordering::Relaxed);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    assert_eq!(failed.load(Ordering::Relaxed), 0);
    world.seen.last().unwrap().signal(Signal::TERM).unwrap();
    eventually("the pid file is removed", || !world.path("pid").exists());
}
