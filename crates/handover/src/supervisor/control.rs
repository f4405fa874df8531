//! HTTP and JSON on a private Unix socket, so that `curl --unix-socket` works too.
//!
//! The socket is mode 0600 from the moment it exists; on top of that every peer's user id is
//! checked, and everything that changes something leaves an audit event.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use handover_proto::event::EventKind;
use handover_proto::outcome::Outcome;
use handover_proto::settings::{Stop, WhenBusy};
use handover_proto::status::{Status, UpgradeRequest};
use serde::Deserialize;
use serde_json::json;
use tokio::net::UnixListener;
use tokio::net::unix::UCred;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::bus::Bus;
use super::driver::Command;
use super::survey;

/// How long answers under way may take once the supervisor ends.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

const PATHS: [&str; 10] = [
    "GET /v1/status",
    "GET /v1/events?since=SEQ",
    "GET /v1/history",
    "POST /v1/upgrade",
    "POST /v1/rollback",
    "POST /v1/undo",
    "POST /v1/check",
    "POST /v1/stop",
    "POST /v1/abort",
    "GET /metrics",
];

#[derive(Clone)]
struct Shared {
    driver: UnboundedSender<Command>,
    bus: Bus,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
struct Peer(Option<UCred>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok())
    }
}

/// A control socket that is served.
pub(super) struct Server {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Server {
    /// Takes no more requests and lets answers under way finish.
    pub(super) async fn finish(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(FINISH_WITHIN, self.task).await;
    }
}

pub(super) fn serve(listener: UnixListener, driver: UnboundedSender<Command>, bus: Bus) -> Server {
    let shared = Shared { driver, bus };
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events", get(events))
        .route("/v1/history", get(history))
        .route("/v1/upgrade", post(upgrade))
        .route("/v1/rollback", post(rollback))
        .route("/v1/undo", post(undo))
        .route("/v1/check", post(check))
        .route("/v1/stop", post(stop))
        .route("/v1/abort", post(abort))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        let service = router.into_make_service_with_connect_info::<Peer>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async {
            let _ = stopped.await;
        });
        if let Err(error) = server.await {
            tracing::error!(%error, "control socket");
        }
    });
    Server { task, stop }
}

/// A request that is not answered, and why.
struct Failure(StatusCode, String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn failure(status: StatusCode, error: impl Into<String>) -> Failure {
    Failure(status, error.into())
}

/// Lets in the supervisor's own user and root; writes the audit line of whatever changes things.
async fn guard(
    State(shared): State<Shared>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let own = rustix::process::geteuid().as_raw();
    let allowed = peer.is_some_and(|peer| peer.uid() == own || peer.uid() == 0);
    if request.method() != Method::GET || !allowed {
        shared.bus.publish(EventKind::Audit {
            uid: peer.map_or(u32::MAX, |peer| peer.uid()),
            pid: peer
                .and_then(|peer| peer.pid())
                .map_or(0, i32::unsigned_abs),
            action: format!("{} {}", request.method(), request.uri().path()),
            allowed,
        });
    }
    if allowed {
        return next.run(request).await;
    }
    failure(
        StatusCode::FORBIDDEN,
        format!("this supervisor takes orders from uid {own} and root only; nothing was changed"),
    )
    .into_response()
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let error = format!("no {method} {}; there is {}", uri.path(), PATHS.join(", "));
    failure(StatusCode::NOT_FOUND, error).into_response()
}

/// Asks the driver something and waits for its answer.
async fn ask<T>(
    shared: &Shared,
    question: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, Failure> {
    let (answer, answered) = oneshot::channel();
    let gone = || failure(StatusCode::SERVICE_UNAVAILABLE, "the supervisor is ending");
    shared.driver.send(question(answer)).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())
}

/// Reads a body that may be empty.
fn parse<T: Default + for<'de> Deserialize<'de>>(body: &Bytes) -> Result<T, Failure> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        failure(
            StatusCode::BAD_REQUEST,
            format!("{error}; nothing was changed"),
        )
    })
}

fn answer(outcome: &Outcome) -> Response {
    let status = match outcome {
        Outcome::Committed { .. } => StatusCode::OK,
        Outcome::RolledBack { .. } | Outcome::Refused { .. } | Outcome::TimedOut { .. } => {
            StatusCode::CONFLICT
        }
        Outcome::NobodyServes { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(outcome)).into_response()
}

async fn ask_status(shared: &Shared) -> Result<Status, Failure> {
    let mut status = ask(shared, |answer| Command::Status { answer }).await?;
    let counted = tokio::task::spawn_blocking(move || {
        survey::count_connections(&mut status);
        status
    });
    counted.await.map_err(|error| {
        failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("connections cannot be counted: {error}"),
        )
    })
}

async fn status(State(shared): State<Shared>) -> Result<Json<Status>, Failure> {
    ask_status(&shared).await.map(Json)
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, Failure> {
    let status = ask_status(&shared).await?;
    let text = shared.bus.telemetry().render(&status);
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, text).into_response())
}

async fn history(State(shared): State<Shared>) -> Result<Response, Failure> {
    let entries = ask(&shared, |answer| Command::History { answer }).await?;
    Ok(Json(entries).into_response())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Since {
    since: u64,
}

/// One event a line, until the reader leaves or the supervisor ends.
async fn events(State(shared): State<Shared>, Query(Since { since }): Query<Since>) -> Response {
    let subscription = shared.bus.subscribe(since);
    let lines = futures_util::stream::unfold(Some(subscription), |subscription| async move {
        let mut subscription = subscription?;
        let event = subscription.next().await?;
        let mut line = serde_json::to_vec(&*event).unwrap_or_default();
        line.push(b'\n');
        let last = matches!(event.kind, EventKind::Stopped);
        Some((
            Ok::<_, std::convert::Infallible>(line),
            (!last).then_some(subscription),
        ))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

async fn upgrade(State(shared): State<Shared>, body: Bytes) -> Result<Response, Failure> {
    let request: UpgradeRequest = parse(&body)?;
    let outcome = ask(&shared, |answer| Command::Upgrade {
        request,
        answer: Some(answer),
    })
    .await?;
    Ok(answer(&outcome))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RollbackRequest {
    when_busy: WhenBusy,
}

async fn rollback(State(shared): State<Shared>, body: Bytes) -> Result<Response, Failure> {
    let RollbackRequest { when_busy } = parse(&body)?;
    let outcome = ask(&shared, |answer| Command::Rollback {
        when_busy,
        answer: Some(answer),
    })
    .await?;
    Ok(answer(&outcome))
}

async fn undo(State(shared): State<Shared>) -> Result<Response, Failure> {
    let outcome = ask(&shared, |answer| Command::Undo {
        answer: Some(answer),
    })
    .await?;
    Ok(answer(&outcome))
}

async fn check(State(shared): State<Shared>, body: Bytes) -> Result<Response, Failure> {
    let request: UpgradeRequest = parse(&body)?;
    let report = ask(&shared, |answer| Command::Check { request, answer }).await?;
    Ok(Json(report).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StopRequest {
    #[serde(default = "drain")]
    how: Stop,
}

fn drain() -> Stop {
    Stop::Drain
}

impl Default for StopRequest {
    fn default() -> Self {
        Self { how: drain() }
    }
}

async fn stop(State(shared): State<Shared>, body: Bytes) -> Result<Response, Failure> {
    let StopRequest { how } = parse(&body)?;
    send(&shared, Command::Stop { how })
}

async fn abort(State(shared): State<Shared>) -> Result<Response, Failure> {
    send(&shared, Command::Cancel)
}

fn send(shared: &Shared, command: Command) -> Result<Response, Failure> {
    let gone = |_| failure(StatusCode::SERVICE_UNAVAILABLE, "the supervisor is ending");
    shared.driver.send(command).map_err(gone)?;
    Ok((StatusCode::ACCEPTED, Json(json!({}))).into_response())
}
