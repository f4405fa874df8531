//! The example as a user runs it: alone, and replaced under load by its successor on an inherited
//! listener. (`handover run` itself is tested with the command.)

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handover_sys::notify::{Notification, NotifySocket};
use handover_sys::spawn::{Child, Spawn};
use handover_sys::{Exit, Signal};

/// Long enough for the slowest machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

struct Server(Child);

impl Server {
    fn start(
        arguments: &[&str],
        variables: &[(&str, &str)],
        listener: Option<&TcpListener>,
    ) -> Self {
        let environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .chain(
                variables
                    .iter()
                    .map(|(name, value)| (name.into(), value.into())),
            )
            .collect();
        let spawn = Spawn::path(env!("CARGO_BIN_EXE_example-axum"))
            .args(arguments)
            .env(environment)
            .descriptors(listener.iter().map(|listener| listener.as_fd()).collect())
            .listen_pid();
        Self(spawn.spawn().unwrap())
    }

    /// Starts on an inherited listener, as systemd would, and waits for `READY=1`.
    fn ready_on(listener: &TcpListener, directory: &Path) -> Self {
        let notify = NotifySocket::bind(directory.join("notify")).unwrap();
        let variables = [
            ("LISTEN_FDS", "1"),
            ("LISTEN_FDNAMES", "http"),
            ("NOTIFY_SOCKET", notify.path().to_str().unwrap()),
        ];
        let server = Self::start(&[], &variables, Some(listener));
        let started = Instant::now();
        while !notify
            .receive()
            .unwrap()
            .is_some_and(|(_, told)| told.contains(&Notification::Ready))
        {
            assert!(started.elapsed() < DEADLINE, "never ready");
            std::thread::sleep(Duration::from_millis(1));
        }
        server
    }

    fn terminate(&self) {
        self.0.pidfd.signal(Signal::TERM).unwrap();
    }

    fn ends(&self) -> Exit {
        let exit = self.0.pidfd.wait(Some(DEADLINE)).unwrap();
        exit.expect("it ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.pidfd.signal(Signal::KILL);
        let _ = self.0.pidfd.wait(Some(DEADLINE));
    }
}

/// A client that may keep its connection, and says what went wrong.
struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// The body of the answer; the connection is kept unless the answer says otherwise.
    fn get(&mut self, path: &str) -> std::io::Result<String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_read_timeout(Some(DEADLINE))?;
                BufReader::new(stream)
            }
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        connection.get_mut().write_all(request.as_bytes())?;
        let (mut length, mut close, mut status) = (0, false, String::new());
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("connection", value)) => close = value == "close",
                Some(_) => {}
                None if line.is_empty() => break,
                None => status = line,
            }
        }
        assert_eq!(status, "http/1.1 200 ok");
        let mut body = vec![0; length];
        connection.read_exact(&mut body)?;
        if !close {
            self.connection = Some(connection);
        }
        Ok(String::from_utf8(body).unwrap())
    }
}

/// Clients that ask without pause and never try twice.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            answered: Arc::default(),
            clients: Vec::new(),
        };
        for (path, keep) in [("/", true), ("/", true), ("/", false), ("/slow", true)] {
            let (stop, answered) = (Arc::clone(&load.stop), Arc::clone(&load.answered));
            load.clients.push(std::thread::spawn(move || {
                let mut client = Client::new(address);
                while !stop.load(Ordering::Relaxed) {
                    client.get(path).unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                    if !keep {
                        client.connection = None;
                    }
                }
            }));
        }
        load
    }

    /// Waits until this many more were answered.
    fn flows(&self) {
        let (before, started) = (self.answered.load(Ordering::Relaxed), Instant::now());
        while self.answered.load(Ordering::Relaxed) < before + 200 {
            assert!(started.elapsed() < DEADLINE, "the load stands still");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no request fails");
        }
    }
}

#[test]
fn it_runs_alone() {
    let (read, write) = std::io::pipe().unwrap();
    let spawn = Spawn::path(env!("CARGO_BIN_EXE_example-axum"))
        .args(["127.0.0.1:0"])
        .stderr(write.as_fd());
    let server = Server(spawn.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("serving ").unwrap();
    let mut client = Client::new(address.parse().unwrap());
    assert_eq!(client.get("/").unwrap(), "hello\n");
    server.terminate();
    drop(client);
    assert_eq!(server.ends(), Exit::Code(0));
}

#[test]
fn successors_take_over_under_load_without_a_failed_request() {
    let directory = tempdir();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut serving = Server::ready_on(&listener, &directory.0);
    let load = Load::start(listener.local_addr().unwrap());
    for _ in 0..5 {
        load.flows();
        let next = Server::ready_on(&listener, &directory.0);
        let old = std::mem::replace(&mut serving, next);
        old.terminate();
        load.flows();
        assert_eq!(old.ends(), Exit::Code(0));
    }
    load.flows();
    load.end();
}

/// A directory that goes with the test.
struct Directory(std::path::PathBuf);

fn tempdir() -> Directory {
    let path = std::env::temp_dir().join(format!("handover-example-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    Directory(path)
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
