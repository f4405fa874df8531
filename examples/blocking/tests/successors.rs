//! The example as a user runs it: alone, and replaced while clients write, on an inherited
//! listener. (`handover run` itself is tested with the command.)

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use handover_sys::spawn::{Child, Spawn};
use handover_sys::{Exit, Signal};

/// Long enough for the slowest machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

struct Server(Child);

impl Server {
    fn start(spawn: Spawn) -> (Self, String) {
        let (read, write) = std::io::pipe().unwrap();
        let child = spawn.stderr(write.as_fd()).spawn().unwrap();
        drop(write);
        let server = Self(child);
        let mut reader = BufReader::new(read);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        // Somebody must read on, or the server blocks when it complains.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut reader, &mut std::io::stderr());
        });
        (server, line.trim_end().to_owned())
    }

    /// On an inherited listener, as systemd would start it.
    fn on(listener: &TcpListener, directory: &Path) -> Self {
        let variables = [("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "lines")];
        let environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .chain(variables.map(|(name, value)| (name.into(), value.into())))
            .collect();
        let spawn = Spawn::path(env!("CARGO_BIN_EXE_example-blocking"))
            .args([directory.as_os_str()])
            .env(environment)
            .descriptors(vec![listener.as_fd()])
            .listen_pid();
        let (server, line) = Self::start(spawn);
        let address = listener.local_addr().unwrap();
        assert_eq!(line, format!("serving {address}"));
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

/// A client that connects again when its connection ends without an answer.
struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// Epoch and number of the line.
    fn write(&mut self, line: &str) -> (u64, u64) {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "no answer");
            if let Some(answer) = self.try_write(line) {
                let (epoch, number) = answer.trim_end().split_once(' ').unwrap();
                return (epoch.parse().unwrap(), number.parse().unwrap());
            }
            self.connection = None;
        }
    }

    fn try_write(&mut self, line: &str) -> Option<String> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let stream = TcpStream::connect(self.address).unwrap();
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                none.insert(BufReader::new(stream))
            }
        };
        let sent = connection.get_mut().write_all(line.as_bytes());
        sent.ok()?;
        let mut answer = String::new();
        let read = connection.read_line(&mut answer).ok()?;
        (read > 0).then_some(answer)
    }
}

#[test]
fn it_runs_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().as_os_str();
    let spawn = Spawn::path(env!("CARGO_BIN_EXE_example-blocking"));
    let (server, line) = Server::start(spawn.args([path, "127.0.0.1:0".as_ref()]));
    let address = line.strip_prefix("serving ").expect(&line);
    let mut client = Client {
        address: address.parse().unwrap(),
        connection: None,
    };
    assert_eq!(client.write("one\n"), (1, 1));
    assert_eq!(client.write("two\n"), (1, 2));
    server.terminate();
    // An idle client does not hold it up.
    let ended = client
        .connection
        .as_mut()
        .unwrap()
        .read_to_end(&mut Vec::new());
    assert_eq!(ended.unwrap(), 0);
    assert_eq!(server.ends(), Exit::Code(0));
    let written = std::fs::read_to_string(directory.path().join("journal"));
    assert_eq!(written.unwrap(), "one\ntwo\n");
}

/// A second one cannot write beside the first, and says why.
#[test]
fn two_do_not_write() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _first = Server::on(&listener, directory.path());
    let path = directory.path().as_os_str();
    let spawn = Spawn::path(env!("CARGO_BIN_EXE_example-blocking"));
    let (second, line) = Server::start(spawn.args([path, "127.0.0.1:0".as_ref()]));
    assert!(line.contains("in use"), "{line}");
    assert_eq!(second.ends(), Exit::Code(1));
}

/// Owners follow each other while clients write: each answered line is there once, under the
/// number it was answered with, and epochs only grow.
#[test]
fn owners_follow_each_other_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut client = Client {
                    address,
                    connection: None,
                };
                let mut answers = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let line = format!("{writer}.{}\n", answers.len());
                    let (epoch, number) = client.write(&line);
                    answers.push((epoch, number, line));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                answers
            })
        })
        .collect();
    let flows = || {
        let (before, started) = (answered.load(Ordering::Relaxed), Instant::now());
        while answered.load(Ordering::Relaxed) < before + 200 {
            assert!(started.elapsed() < DEADLINE, "the load stands still");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    const OWNERS: u64 = 5;
    for _ in 0..OWNERS {
        let server = Server::on(&listener, directory.path());
        flows();
        server.terminate();
        assert_eq!(server.ends(), Exit::Code(0));
    }
    let last = Server::on(&listener, directory.path());
    flows();
    stop.store(true, Ordering::Relaxed);
    let written = writers.into_iter().map(|writer| writer.join().unwrap());
    let written: Vec<Vec<(u64, u64, String)>> = written.collect();
    drop(last);
    let journal = std::fs::read_to_string(directory.path().join("journal")).unwrap();
    let lines: Vec<&str> = journal.split_inclusive('\n').collect();
    for answers in &written {
        assert!(answers.is_sorted_by_key(|(epoch, number, _)| (*epoch, *number)));
        for (_, number, line) in answers {
            let at = usize::try_from(number - 1).unwrap();
            assert_eq!(lines.get(at), Some(&line.as_str()));
        }
    }
    let epochs = written.iter().flatten().map(|(epoch, ..)| *epoch);
    assert_eq!(epochs.max(), Some(OWNERS + 1));
}
