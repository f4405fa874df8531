//! The example as a user runs it without a supervisor. (A hundred upgrades under `handover run` are
//! in `tests/tests/e2e/exclusive`.)

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use handover_sys::{Pidfd, Signal};

/// Long enough for the slowest machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(60);

struct Server {
    process: Child,
    errors: BufReader<std::process::ChildStderr>,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_example-kv"));
        command.arg(directory).arg("127.0.0.1:0");
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(process.stderr.take().unwrap());
        Self { process, errors }
    }

    fn address(&mut self) -> SocketAddr {
        let mut line = String::new();
        self.errors.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("serving ");
        address.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    }

    fn stop(mut self) -> Option<i32> {
        let process = Pidfd::open(self.process.id()).unwrap();
        process.signal(Signal::TERM).unwrap();
        self.process.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends one request; the answer's status line and body.
fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

#[test]
fn it_runs_alone_keeps_what_it_was_given_and_lets_no_second_one_in() {
    let directory = std::env::temp_dir().join(format!("kv-alone-{}", std::process::id()));
    let mut first = Server::start(&directory);
    let address = first.address();
    let (status, body) = ask(address, "PUT", "/k/ann", "tea");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", r#"{"seq":1,"epoch":1}"#)
    );

    // It gives up by itself, and says who has the directory.
    let mut second = Server::start(&directory);
    let mut words = String::new();
    second.errors.read_to_string(&mut words).unwrap();
    assert!(!second.process.wait().unwrap().success(), "{words}");
    let holder = first.process.id().to_string();
    assert!(
        words.contains("in use") && words.contains(&holder),
        "{words}"
    );

    assert_eq!(first.stop(), Some(0));
    let mut third = Server::start(&directory);
    let address = third.address();
    let (_, body) = ask(address, "GET", "/k/ann", "");
    assert_eq!(body, "tea");
    // Each owner has an epoch of its own.
    let (_, body) = ask(address, "PUT", "/k/bob", "milk");
    assert_eq!(body, r#"{"seq":2,"epoch":2}"#);
    let (_, body) = ask(address, "GET", "/log?from=1", "");
    let [ann, bob] = [
        r#"{"seq":1,"epoch":1,"key":"ann","value":"tea"}"#,
        r#"{"seq":2,"epoch":2,"key":"bob","value":"milk"}"#,
    ];
    assert_eq!(body, format!("[{ann},{bob}]"));
    assert_eq!(third.stop(), Some(0));
    std::fs::remove_dir_all(&directory).unwrap();
}
