//! A service's control socket, by hand: HTTP/1.1 over a Unix socket, one request a connection.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use handover_proto::event::Event;
use handover_proto::outcome::Outcome;
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::{HistoryEntry, Status, UpgradeRequest};

/// Talks to one supervisor at a time: whichever answers on the socket.
#[derive(Clone, Debug)]
pub struct Control {
    socket: PathBuf,
}

impl Control {
    /// On this socket.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// One request: status and body of the answer.
    ///
    /// # Errors
    /// Nobody listens, or they left in the middle.
    pub fn request(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: handover\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        crate::http::split(&answer).ok_or_else(|| io::Error::other(format!("no answer: {answer}")))
    }

    /// `GET /v1/status`, if somebody answers.
    #[must_use]
    pub fn try_status(&self) -> Option<Status> {
        let (code, body) = self.request("GET", "/v1/status", "").ok()?;
        assert_eq!(code, 200, "{body}");
        Some(serde_json::from_str(&body).expect("a status"))
    }

    /// `GET /v1/status`.
    ///
    /// # Panics
    /// When nobody answers.
    #[must_use]
    pub fn status(&self) -> Status {
        self.try_status().expect("the supervisor answers")
    }

    fn outcome(&self, path: &str, body: &str) -> Outcome {
        let (code, body) = self.request("POST", path, body).expect("an answer");
        let outcome: Outcome = serde_json::from_str(&body).expect(&body);
        let expected = match outcome {
            Outcome::Committed { .. } => 200,
            Outcome::NobodyServes { .. } => 503,
            _ => 409,
        };
        assert_eq!(code, expected, "{body}");
        outcome
    }

    /// `POST /v1/upgrade`: how it ended.
    ///
    /// # Panics
    /// When nobody answers, or the HTTP status does not fit the outcome.
    #[must_use]
    pub fn upgrade(&self, request: &UpgradeRequest) -> Outcome {
        let body = serde_json::to_string(request).expect("JSON");
        self.outcome("/v1/upgrade", &body)
    }

    /// Upgrades to what the configured path holds now.
    #[must_use]
    pub fn upgrade_in_place(&self) -> Outcome {
        self.outcome("/v1/upgrade", "")
    }

    /// Upgrades to another program.
    #[must_use]
    pub fn upgrade_to(&self, binary: &Path) -> Outcome {
        self.upgrade(&to(binary))
    }

    /// `POST /v1/rollback`.
    #[must_use]
    pub fn rollback(&self) -> Outcome {
        self.outcome("/v1/rollback", "")
    }

    /// `POST /v1/undo`.
    #[must_use]
    pub fn undo(&self) -> Outcome {
        self.outcome("/v1/undo", "")
    }

    /// `POST /v1/abort`.
    pub fn abort(&self) {
        let (code, body) = self.request("POST", "/v1/abort", "").expect("an answer");
        assert_eq!(code, 202, "{body}");
    }

    /// `POST /v1/stop`.
    pub fn stop(&self, how: Stop) {
        let body = serde_json::json!({ "how": how }).to_string();
        let (code, body) = self.request("POST", "/v1/stop", &body).expect("an answer");
        assert_eq!(code, 202, "{body}");
    }

    /// `GET /v1/history`.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryEntry> {
        let (code, body) = self.request("GET", "/v1/history", "").expect("an answer");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).expect("a history")
    }
}

/// A request for this program.
#[must_use]
pub fn to(binary: &Path) -> UpgradeRequest {
    UpgradeRequest {
        binary: Some(binary.display().to_string()),
        ..UpgradeRequest::default()
    }
}

/// The same with a word on what to do if an attempt runs.
#[must_use]
pub fn to_when_busy(binary: &Path, when_busy: WhenBusy) -> UpgradeRequest {
    UpgradeRequest {
        when_busy,
        ..to(binary)
    }
}

/// Events from lines of JSON; an unfinished last line is left out.
#[must_use]
pub fn events(lines: &str) -> Vec<Event> {
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // `handover adopt` begins with its plan.
    let events = whole.lines().filter(|line| !line.starts_with("{\"facts\""));
    events.map(parse).collect()
}
