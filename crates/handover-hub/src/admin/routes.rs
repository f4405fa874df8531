//! Requests and their answers.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::Stream;
use futures_util::stream::unfold;
use handover_hub_proto::identity::{NodeName, ProcessId, ShardId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::survey::Wanted;
use super::view::{Complaint, Mishap, MoveList, NodeView, Outcome, ProcessView, Status};
use super::{Desk, metrics, orders};

/// Events that are written at once.
const BATCH: usize = 256;

const PATHS: [&str; 11] = [
    "GET /v1/status",
    "GET /v1/nodes",
    "GET /v1/processes?prefix=&node=&kind=&tag=&limit=",
    "GET /v1/process?id=",
    "GET /v1/moves",
    "GET /v1/events?since=&all=",
    "POST /v1/move",
    "POST /v1/pin",
    "POST /v1/evacuate",
    "POST /v1/abort",
    "GET /metrics",
];

/// What may be looked at.
pub(crate) fn read() -> Router<Desk> {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/nodes", get(nodes))
        .route("/v1/processes", get(processes))
        .route("/v1/process", get(process))
        .route("/v1/moves", get(moves))
        .route("/v1/events", get(events))
        .route("/metrics", get(prometheus))
}

/// What may be looked at and what may be ordered.
pub(super) fn all() -> Router<Desk> {
    read()
        .route("/v1/move", post(move_child))
        .route("/v1/pin", post(pin))
        .route("/v1/evacuate", post(evacuate))
        .route("/v1/abort", post(abort))
        .fallback(unknown)
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let error = format!("no {method} {}; there is {}", uri.path(), PATHS.join(", "));
    let complaint = Complaint::usage(error);
    (StatusCode::NOT_FOUND, Json(complaint)).into_response()
}

/// Looks at all rows elsewhere than where requests are answered.
pub(crate) async fn look<T: Send + 'static>(
    desk: &Desk,
    look: impl FnOnce(&Desk) -> T + Send + 'static,
) -> Result<T, Complaint> {
    let desk = desk.clone();
    let looked = tokio::task::spawn_blocking(move || look(&desk)).await;
    looked.map_err(|error| {
        let error = format!("the node could not look: {error}; its processes serve on");
        Complaint::refused(error)
    })
}

async fn status(State(desk): State<Desk>) -> Result<Json<Status>, Complaint> {
    let flights = desk.flights().await;
    let status = look(&desk, move |desk| desk.status(&flights)).await;
    status.map(Json)
}

async fn nodes(State(desk): State<Desk>) -> Result<Json<Vec<NodeView>>, Complaint> {
    look(&desk, Desk::nodes).await.map(Json)
}

async fn moves(State(desk): State<Desk>) -> Json<MoveList> {
    desk.members();
    let flights = desk.flights().await;
    Json(desk.move_list(&flights))
}

async fn prometheus(State(desk): State<Desk>) -> Result<Response, Complaint> {
    let own = desk.own_flights().await;
    let text = look(&desk, move |desk| metrics::render(desk, &own)).await?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, text).into_response())
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: ProcessId,
}

async fn process(State(desk): State<Desk>, uri: Uri) -> Result<Json<ProcessView>, Complaint> {
    let ById { id } = query(&uri)?;
    let found = desk.process(&id);
    found.map(Json).ok_or_else(|| orders::unknown(&id))
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct List {
    prefix: Option<String>,
    node: Option<NodeName>,
    kind: Option<String>,
    tag: Option<String>,
    limit: Option<usize>,
}

/// One process a line, shard by shard: however many there are, one shard's are held.
async fn processes(State(desk): State<Desk>, uri: Uri) -> Result<Response, Complaint> {
    let list: List = query(&uri)?;
    let wanted = Wanted {
        prefix: list.prefix.filter(|prefix| !prefix.is_empty()),
        node: match list.node {
            Some(name) => Some(desk.member(&name)?.id),
            None => None,
        },
        kind: list.kind,
        tag: list.tag,
    };
    let lines = rows(desk, Arc::new(wanted), list.limit.unwrap_or(usize::MAX));
    Ok(stream(lines))
}

fn rows(
    desk: Desk,
    wanted: Arc<Wanted>,
    limit: usize,
) -> impl Stream<Item = Result<Vec<u8>, Infallible>> + Send {
    // The names of the hosts.
    desk.members();
    unfold((desk, 0, limit), move |(desk, mut shard, mut left)| {
        let wanted = Arc::clone(&wanted);
        async move {
            while shard < desk.hub.shards() && left > 0 {
                let (from, id) = (desk.clone(), ShardId(shard));
                let wanted = Arc::clone(&wanted);
                let found = tokio::task::spawn_blocking(move || from.processes(id, &wanted));
                let mut found = found.await.ok()?;
                shard += 1;
                found.truncate(left);
                left -= found.len();
                if !found.is_empty() {
                    return Some((Ok(lines(&found)), (desk, shard, left)));
                }
            }
            None
        }
    })
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Since {
    since: u64,
    all: bool,
}

/// One event a line, until the reader leaves or the node ends.
async fn events(State(desk): State<Desk>, uri: Uri) -> Result<Response, Complaint> {
    let Since { since, all } = query(&uri)?;
    let reader = desk.reader(since, all);
    let lines = unfold((desk, reader), |(desk, mut reader)| async move {
        desk.members();
        let events = desk.next(&mut reader, BATCH).await?;
        Some((Ok::<_, Infallible>(lines(&events)), (desk, reader)))
    });
    Ok(stream(lines))
}

fn lines<T: Serialize>(values: &[T]) -> Vec<u8> {
    let mut lines = Vec::new();
    for value in values {
        // Fails only for maps with keys that are no strings; views have none.
        lines.extend(serde_json::to_vec(value).unwrap_or_default());
        lines.push(b'\n');
    }
    lines
}

fn stream(lines: impl Stream<Item = Result<Vec<u8>, Infallible>> + Send + 'static) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

async fn move_child(State(desk): State<Desk>, body: Bytes) -> Result<Response, Complaint> {
    let request = parse(&body)?;
    carry_out(async move { desk.move_child(request).await }).await
}

async fn pin(State(desk): State<Desk>, body: Bytes) -> Result<Response, Complaint> {
    let request = parse(&body)?;
    carry_out(async move { desk.pin(request).await }).await
}

async fn evacuate(State(desk): State<Desk>, body: Bytes) -> Result<Response, Complaint> {
    let request = parse(&body)?;
    carry_out(async move { desk.evacuate(request).await }).await
}

async fn abort(State(desk): State<Desk>, body: Bytes) -> Result<Response, Complaint> {
    let request = parse(&body)?;
    carry_out(async move { desk.abort(request).await }).await
}

/// In a task of its own: whoever asked may hang up, what was begun goes on.
async fn carry_out(
    order: impl Future<Output = Result<Outcome, Complaint>> + Send + 'static,
) -> Result<Response, Complaint> {
    match tokio::spawn(order).await {
        Ok(outcome) => {
            let outcome = outcome?;
            let status = match outcome {
                Outcome::Evacuating { .. } => StatusCode::ACCEPTED,
                Outcome::Moved { .. } | Outcome::Evacuated { .. } | Outcome::Done => StatusCode::OK,
            };
            Ok((status, Json(outcome)).into_response())
        }
        Err(_) => Err(Complaint::new(
            Mishap::TimedOut,
            "the node is ending; whether this was done is not known: look it up at another node",
        )),
    }
}

fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, Complaint> {
    serde_json::from_slice(body)
        .map_err(|error| Complaint::usage(format!("{error}; nothing was changed")))
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Complaint> {
    Query::try_from_uri(uri)
        .map(|Query(query)| query)
        .map_err(|error| Complaint::usage(error.body_text()))
}
