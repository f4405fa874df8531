//! A service under the real supervisor: `handover run` of the demo's server.
#![allow(dead_code, reason = "each test binary uses another part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// More than any test machine needs; only a hang gets there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command.
pub(crate) const HANDOVER: &str = env!("CARGO_BIN_EXE_handover");

/// A service and its runtime directory. Dropping it stops the service.
pub(crate) struct Service {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) run: Child,
    pub(crate) address: String,
    pub(crate) events: Option<BufReader<ChildStdout>>,
}

impl Service {
    /// Starts version 1 and waits until it serves.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut line = vec![
            "run", "--format", "json", "--name", "web", "--ready", "native",
        ];
        line.extend(["-l", "http=127.0.0.1:0"]);
        line.extend(flags);
        line.extend(["--", HANDOVER, "__demo-server", "--version-name", "1"]);
        let mut run = command(&dir, &line)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut events = BufReader::new(run.stdout.take().expect("piped"));
        let mut address = None;
        loop {
            let mut line = String::new();
            let read = events.read_line(&mut line).expect("a line");
            assert!(read > 0, "the supervisor ended before its server was ready");
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            match event["event"].as_str() {
                Some("listener_opened") => address = event["address"].as_str().map(str::to_owned),
                Some("handover_finished") => break,
                _ => {}
            }
        }
        Self {
            dir,
            run,
            address: address.expect("a listener before the first instance"),
            events: Some(events),
        }
    }

    pub(crate) fn handover(&self, line: &[&str]) -> Output {
        self.command(line)
            .stdin(Stdio::null())
            .output()
            .expect("it runs")
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        command(&self.dir, line)
    }

    /// Upgrades to a version of the demo's server.
    pub(crate) fn upgrade(&self, flags: &[&str], version: &str, behaviour: &str) -> Output {
        let mut line = vec!["upgrade"];
        line.extend(flags);
        line.extend(server(version, behaviour));
        self.handover(&line)
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.handover(&["status", "--format", "json"]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// The version that answers.
    pub(crate) fn version(&self) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let header = answer
            .lines()
            .find_map(|line| line.strip_prefix("x-version: "));
        header.expect("a version").to_owned()
    }

    /// Waits until the supervisor has ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the supervisor ends", || self.run.try_wait().expect("ours"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.handover(&["stop", "--now"]);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.run.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Only if the above did not work; a panic here would hide why.
        let _ = self.run.kill();
        let _ = self.run.wait();
    }
}

/// The arguments of a version of the demo's server.
pub(crate) fn server<'a>(version: &'a str, behaviour: &'a str) -> [&'a str; 6] {
    [
        "--",
        "__demo-server",
        "--version-name",
        version,
        "--behaviour",
        behaviour,
    ]
}

/// The command with a runtime directory, and no settings of the caller's own.
pub(crate) fn command(dir: &tempfile::TempDir, line: &[&str]) -> Command {
    let mut command = Command::new(HANDOVER);
    command.args(line);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"HANDOVER_") {
            command.env_remove(name);
        }
    }
    command.env("HANDOVER_RUNTIME_DIR", dir.path());
    command
}

/// Waits for something to become so.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for a child, but not for ever.
pub(crate) fn finish(child: Child) -> Output {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    told.recv_timeout(PATIENCE)
        .expect("it ends")
        .expect("it ran")
}

/// Whether a process is there and not only waiting to be reaped.
pub(crate) fn lives(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
