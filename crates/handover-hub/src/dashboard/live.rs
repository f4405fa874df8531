//! What the page is told as it happens: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::admin::view::{Complaint, EventView, Mishap, MoveView, NodeView, Status};
use crate::admin::{Desk, Reader, look};

/// Between two looks at everything.
const EVERY: Duration = Duration::from_secs(1);

/// Pages that are told at the same time; each costs a look a second.
const WATCHERS: usize = 64;

/// Events told at once.
const BATCH: usize = 64;

/// All that is shown besides single processes and events.
#[derive(Debug, Serialize)]
struct Glance {
    status: Status,
    nodes: Vec<NodeView>,
    moves: Vec<MoveView>,
}

pub(super) fn routes() -> Router<Desk> {
    let watchers = Arc::new(Semaphore::new(WATCHERS));
    let live = move |State(desk): State<Desk>| {
        let permit = Arc::clone(&watchers).try_acquire_owned();
        async move {
            match permit {
                Ok(permit) => told(desk, permit),
                Err(_) => full(),
            }
        }
    };
    Router::new().route("/live", get(live))
}

fn full() -> Response {
    let error = format!("{WATCHERS} pages are watching this node; close one, or ask another node");
    let complaint = Complaint {
        kind: Mishap::Refused,
        error,
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(complaint)).into_response()
}

fn told(desk: Desk, permit: OwnedSemaphorePermit) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(stream(desk, permit))).into_response()
}

struct Watcher {
    desk: Desk,
    reader: Reader,
    ticks: Interval,
    /// Frees the place when the page is closed.
    _permit: OwnedSemaphorePermit,
}

fn stream(
    desk: Desk,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Vec<u8>, Infallible>> + Send {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        reader: desk.reader(0, false),
        desk,
        ticks,
        _permit: permit,
    };
    unfold(watcher, |mut watcher| async move {
        let Watcher {
            desk,
            reader,
            ticks,
            ..
        } = &mut watcher;
        let message = tokio::select! {
            biased;
            _ = ticks.tick() => {
                let glance = look(desk, |desk| Glance {
                    status: desk.status(),
                    nodes: desk.nodes(),
                    moves: desk.moves(),
                });
                message("glance", &glance.await.ok()?)
            }
            events = desk.next(reader, BATCH) => happened(&events?),
        };
        Some((Ok(message), watcher))
    })
}

fn happened(events: &[EventView]) -> Vec<u8> {
    events
        .iter()
        .flat_map(|event| message("happened", event))
        .collect()
}

/// JSON has no bare line ends, so that one line of data is enough.
fn message<T: Serialize>(name: &str, value: &T) -> Vec<u8> {
    // Fails only for maps with keys that are no strings; views have none.
    let data = serde_json::to_string(value).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}
