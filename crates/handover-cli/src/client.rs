//! The control socket as a client sees it: HTTP and JSON over a Unix socket.

mod stream;

pub(crate) use stream::{EventLine, EventStream, Lines, RawStream};

use crate::exit::ExitCode;
use handover::supervisor::CheckReport;
use handover_proto::outcome::Outcome;
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::{HistoryEntry, Status, UpgradeRequest};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// The longest answer that is read: a history of tens of thousands of handovers. More comes from
/// somebody who is no supervisor.
const MAX_ANSWER: usize = 32 * 1024 * 1024;

/// How many bytes of an answer that is not understood are quoted: a line.
const QUOTED: usize = 200;

/// Why a supervisor could not be asked, or was not understood.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("cannot connect to the supervisor at {socket}: {source}; see `handover status`")]
    Connect {
        socket: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the supervisor hung up before it answered {asked} ({reason}); it may have died or been \
         restarted: see `handover status`"
    )]
    HungUp { asked: String, reason: String },
    #[error(
        "the supervisor does not let this user do that: {reason}; run this as its user or as root"
    )]
    Denied { reason: String },
    #[error("the supervisor refused {asked}: {reason}")]
    Refused { asked: String, reason: String },
    #[error("the supervisor could not do {asked}: {reason}; its log says more")]
    Failed { asked: String, reason: String },
    #[error(
        "the supervisor's answer to {asked} is not understood ({reason}); this is handover {}, see \
         the supervisor's version in `handover status --format json`. It said: {quoted}",
        env!("CARGO_PKG_VERSION")
    )]
    NotUnderstood {
        asked: String,
        reason: String,
        quoted: String,
    },
    #[error("the supervisor's answer to {asked} is longer than {MAX_ANSWER} bytes; it is not read")]
    TooLong { asked: String },
}

impl ClientError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Denied { .. } | Self::Refused { .. } => ExitCode::Refused,
            Self::Connect { .. }
            | Self::Failed { .. }
            | Self::HungUp { .. }
            | Self::NotUnderstood { .. }
            | Self::TooLong { .. } => ExitCode::Unexpected,
        }
    }
}

/// A supervisor's control socket. Each request makes a connection of its own, so that a client
/// kept for long survives a restart of the supervisor.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    socket: PathBuf,
}

impl Client {
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// Who serves.
    pub(crate) async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status", None).await
    }

    /// Finished attempts, oldest first.
    pub(crate) async fn history(&self) -> Result<Vec<HistoryEntry>, ClientError> {
        self.ask(Method::GET, "/v1/history", None).await
    }

    /// Hands over, and returns when the attempt is over. Dropping the future does not end the
    /// attempt: see [`abort`](Self::abort).
    pub(crate) async fn upgrade(&self, request: &UpgradeRequest) -> Result<Outcome, ClientError> {
        self.outcome("/v1/upgrade", &json(request)).await
    }

    /// Hands over to the previous version; otherwise as [`upgrade`](Self::upgrade).
    pub(crate) async fn rollback(&self, when_busy: WhenBusy) -> Result<Outcome, ClientError> {
        let body = serde_json::json!({ "when_busy": when_busy });
        self.outcome("/v1/rollback", &body).await
    }

    /// Lets the parked instance take back; otherwise as [`upgrade`](Self::upgrade).
    pub(crate) async fn undo(&self) -> Result<Outcome, ClientError> {
        self.outcome("/v1/undo", &serde_json::json!({})).await
    }

    /// Looks at a candidate without starting it.
    pub(crate) async fn check(&self, request: &UpgradeRequest) -> Result<CheckReport, ClientError> {
        self.ask(Method::POST, "/v1/check", Some(&json(request)))
            .await
    }

    /// Asks the service to stop; it is still stopping when this returns.
    pub(crate) async fn stop(&self, how: Stop) -> Result<(), ClientError> {
        let body = serde_json::json!({ "how": how });
        self.tell("/v1/stop", Some(&body)).await
    }

    /// Asks for the running attempt to be abandoned.
    pub(crate) async fn abort(&self) -> Result<(), ClientError> {
        self.tell("/v1/abort", None).await
    }

    /// What happened after event `since`, then what happens.
    pub(crate) async fn events(&self, since: u64) -> Result<EventStream, ClientError> {
        let path = format!("/v1/events?since={since}");
        let asked = asked(&Method::GET, &path);
        let response = self.send(Method::GET, &path, None).await?;
        if response.status().is_success() {
            return Ok(EventStream::new(asked, response.into_body()));
        }
        let (status, body) = read(&asked, response).await?;
        Err(refusal(asked, status, &body))
    }

    /// Status and body of any answer.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let asked = asked(&method, path);
        let response = self.send(method, path, body).await?;
        read(&asked, response).await
    }

    /// An answer as it comes, or the body of a refusal.
    pub(crate) async fn open(&self, path: &str) -> Result<Result<RawStream, Bytes>, ClientError> {
        let asked = asked(&Method::GET, path);
        let response = self.send(Method::GET, path, None).await?;
        if response.status().is_success() {
            return Ok(Ok(RawStream::new(asked, response.into_body())));
        }
        let (_, body) = read(&asked, response).await?;
        Ok(Err(body))
    }

    /// An outcome is an answer whatever its HTTP status: 409 says rolled back, 503 nobody serves.
    async fn outcome(&self, path: &str, body: &serde_json::Value) -> Result<Outcome, ClientError> {
        let asked = asked(&Method::POST, path);
        let response = self.send(Method::POST, path, Some(body)).await?;
        let (status, body) = read(&asked, response).await?;
        match serde_json::from_slice(&body) {
            Ok(outcome) => Ok(outcome),
            Err(error) if status.is_success() => Err(not_understood(asked, &error, &body)),
            Err(_) => Err(refusal(asked, status, &body)),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<T, ClientError> {
        let asked = asked(&method, path);
        let response = self.send(method, path, body).await?;
        let (status, body) = read(&asked, response).await?;
        if !status.is_success() {
            return Err(refusal(asked, status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| not_understood(asked, &error, &body))
    }

    async fn tell(&self, path: &str, body: Option<&serde_json::Value>) -> Result<(), ClientError> {
        let asked = asked(&Method::POST, path);
        let response = self.send(Method::POST, path, body).await?;
        let (status, body) = read(&asked, response).await?;
        if status.is_success() {
            Ok(())
        } else {
            Err(refusal(asked, status, &body))
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Response<Incoming>, ClientError> {
        let asked = asked(&method, path);
        let hung_up = |error: hyper::Error| ClientError::HungUp {
            asked: asked.clone(),
            reason: error.to_string(),
        };
        let stream = connect(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(hung_up)?;
        // Ends with the response's body; its errors also reach whoever reads that.
        tokio::spawn(connection);
        let bytes = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(hyper::header::HOST, "localhost")
            .header(hyper::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(bytes)))
            .map_err(|error| ClientError::Refused {
                asked: asked.clone(),
                reason: error.to_string(),
            })?;
        sender.send_request(request).await.map_err(hung_up)
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, ClientError> {
    UnixStream::connect(socket)
        .await
        .map_err(|source| ClientError::Connect {
            socket: socket.to_owned(),
            source,
        })
}

fn asked(method: &Method, path: &str) -> String {
    format!("{method} {path}")
}

fn json<T: Serialize>(value: &T) -> serde_json::Value {
    // Fails only for maps with keys that are no strings; requests have none.
    serde_json::to_value(value).unwrap_or_default()
}

async fn read(
    asked: &str,
    response: Response<Incoming>,
) -> Result<(StatusCode, Bytes), ClientError> {
    let status = response.status();
    match Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
    {
        Ok(body) => Ok((status, body.to_bytes())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(ClientError::TooLong {
            asked: asked.to_owned(),
        }),
        Err(error) => Err(ClientError::HungUp {
            asked: asked.to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// A supervisor's `{"error": …}`.
#[derive(Deserialize)]
struct Complaint {
    error: String,
}

fn refusal(asked: String, status: StatusCode, body: &[u8]) -> ClientError {
    let reason = match serde_json::from_slice::<Complaint>(body) {
        Ok(complaint) => complaint.error,
        Err(_) => format!("{status} {}", quote(body)).trim_end().to_owned(),
    };
    match status {
        StatusCode::FORBIDDEN => ClientError::Denied { reason },
        status if status.is_server_error() => ClientError::Failed { asked, reason },
        _ => ClientError::Refused { asked, reason },
    }
}

fn not_understood(asked: String, error: &serde_json::Error, body: &[u8]) -> ClientError {
    ClientError::NotUnderstood {
        asked,
        reason: error.to_string(),
        quoted: quote(body),
    }
}

fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..QUOTED).unwrap_or(body));
    text.trim().replace(['\n', '\r'], " ")
}
