//! What the page is told as it happens: server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::admin::view::{EventView, MoveList, NodeView, Status};
use crate::admin::{Desk, Reader, look};

/// Between two looks at everything.
const EVERY: Duration = Duration::from_secs(1);

/// Events told at once.
const BATCH: usize = 64;

/// All that is shown besides single processes and events.
#[derive(Debug, Serialize)]
struct Glance {
    status: Status,
    nodes: Vec<NodeView>,
    moves: MoveList,
}

pub(super) fn routes() -> Router<Desk> {
    let live = async |State(desk): State<Desk>| {
        let kind = [(header::CONTENT_TYPE, "text/event-stream")];
        (kind, Body::from_stream(stream(desk)))
    };
    Router::new().route("/live", get(live))
}

struct Watcher {
    desk: Desk,
    reader: Reader,
    ticks: Interval,
}

fn stream(desk: Desk) -> impl Stream<Item = Result<Vec<u8>, Infallible>> + Send {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        reader: desk.reader(0, false),
        desk,
        ticks,
    };
    unfold(watcher, |mut watcher| async move {
        let Watcher {
            desk,
            reader,
            ticks,
        } = &mut watcher;
        let message = tokio::select! {
            biased;
            _ = ticks.tick() => {
                let flights = desk.flights().await;
                let glance = look(desk, move |desk| Glance {
                    status: desk.status(&flights),
                    nodes: desk.nodes(),
                    moves: desk.move_list(&flights),
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
