//! A control socket that answers from a script, and the command run against it: so can a test show
//! answers that a real supervisor gives only in trouble.
#![allow(dead_code, reason = "each test binary uses another part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// What the script answers to a request such as `GET /v1/status`: HTTP status and body; `None`
/// hangs up.
pub(crate) type Script = Box<dyn Fn(&str) -> Option<(u16, String)> + Send + Sync>;

/// A runtime directory.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self, service: &str) -> PathBuf {
        self.root().join(service).join("control.sock")
    }

    /// A service whose supervisor died and left its socket.
    pub(crate) fn stale(&self, service: &str) {
        drop(self.listen(service));
    }

    pub(crate) fn listen(&self, service: &str) -> UnixListener {
        std::fs::create_dir_all(self.root().join(service)).expect("a service directory");
        UnixListener::bind(self.socket(service)).expect("a control socket")
    }

    /// Answers from `script` for as long as the test runs. Returns the bodies it was sent.
    pub(crate) fn serve(&self, service: &str, script: Script) -> Arc<Mutex<Vec<String>>> {
        let listener = self.listen(service);
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&bodies);
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, heard) = (Arc::clone(&script), Arc::clone(&heard));
                // A client that hangs up is no concern of the script's.
                std::thread::spawn(move || answer(stream.ok()?, &script, &heard).ok());
            }
        });
        bodies
    }

    /// Runs the command with this runtime directory and almost nothing else of the caller's environment.
    pub(crate) fn run(&self, line: &[&str]) -> Output {
        self.command(line)
            .stdin(Stdio::null())
            .output()
            .expect("the command runs")
    }

    pub(crate) fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_handover"));
        command
            .args(line)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.root());
        // The configuration shows it, and how wide it is depends on the machine.
        if line.first() != Some(&"config") {
            command.env("HANDOVER_RUNTIME_DIR", self.root());
        }
        command
    }

    /// What a person sees, with this directory's name taken out.
    pub(crate) fn transcript(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            text.replace(&*self.root().to_string_lossy(), "<ROOT>")
        };
        let code = output.status.code().expect("an exit code, not a signal");
        let mut shown = format!("$ handover {}\nexit code {code}\n", line.join(" "));
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = text(bytes);
            if !text.is_empty() {
                shown.push_str(&format!("{name}:\n{}\n", text.trim_end()));
            }
        }
        shown
    }
}

fn answer(stream: UnixStream, script: &Script, heard: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    // A probe connects and hangs up.
    if reader.read_line(&mut first)? == 0 {
        return Ok(());
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
    if length > 0 {
        let body = String::from_utf8(body).expect("text");
        heard.lock().expect("no panic").push(body);
    }
    let Some((status, body)) = script(&request) else {
        return Ok(());
    };
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

/// A status as a supervisor at rest gives it.
pub(crate) const STATUS: &str = r#"{
  "service": "web", "version": "0.1.0", "supervisor_pid": 4100, "uptime_ms": 187200000,
  "mode": "overlap", "phase": "serving", "generation": 4,
  "incumbent": {"instance": 4, "pid": 4204, "program": "./server", "native": true,
    "uptime_ms": 11520000, "connections": 3, "text": null, "rss_bytes": 34100000, "descriptors": 12},
  "successor": null, "leaving": [],
  "listeners": [{"name": "http", "kind": "tcp", "address": "127.0.0.1:8080"}],
  "handover": null, "queued": false, "previous": null,
  "supervisor_rss_bytes": 5200000, "supervisor_descriptors": 19, "a_field_of_later": [1]
}"#;

/// Answers the same to one request, and the status to whoever asks for it.
pub(crate) fn says(request: &'static str, status: u16, body: &'static str) -> Script {
    Box::new(move |asked| match asked {
        asked if asked == request => Some((status, body.to_owned())),
        "GET /v1/status" => Some((200, STATUS.to_owned())),
        asked if asked.starts_with("GET /v1/events") => Some((200, String::new())),
        other => Some((404, format!("{{\"error\": \"no {other}\"}}"))),
    })
}
