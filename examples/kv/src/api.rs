//! HTTP: what needs the store, and what does not.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use handover::lease::Epoch;
use serde::{Deserialize, Serialize};

use crate::store::{Entry, Error, Store};

/// On a thread that may block: a write waits for the disk.
async fn run<T: Send + 'static>(
    store: Arc<Store>,
    act: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(move || act(&store));
    done.await
        .map_err(Failure::Panicked)?
        .map_err(Failure::Store)
}

/// Why a request was not served. None of these belongs to a handover: there, requests wait.
enum Failure {
    Store(Error),
    Panicked(tokio::task::JoinError),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Store(error @ Error::Fenced { .. }) => (StatusCode::CONFLICT, error.to_string()),
            Self::Store(error @ Error::Closed) => {
                (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            Self::Store(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            Self::Panicked(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        (status, text + "\n").into_response()
    }
}

/// Where a write stands in the log, and by which owner.
#[derive(Serialize)]
struct Written {
    seq: u64,
    epoch: u64,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    from: u64,
}

/// What only the owner of the store can answer: `owner_layer` around it lets requests in while this
/// process is, and says under which epoch.
pub(crate) fn owned(store: Arc<Store>) -> Router {
    Router::new()
        .route("/k/{key}", get(read).put(write))
        .route("/log", get(log))
        .route("/visits/{name}", post(visit))
        .route("/owner", get(owner))
        .with_state(store)
}

/// What every process can, also one on its way out.
pub(crate) fn anybody() -> Router {
    Router::new().route("/slow", get(slow))
}

async fn write(
    State(store): State<Arc<Store>>,
    Extension(epoch): Extension<Epoch>,
    Path(key): Path<String>,
    value: String,
) -> Result<Json<Written>, Failure> {
    let Epoch(epoch) = epoch;
    let seq = run(store, move |store| store.put(epoch, &key, &value)).await?;
    Ok(Json(Written { seq, epoch }))
}

async fn read(
    State(store): State<Arc<Store>>,
    Path(key): Path<String>,
) -> Result<Response, Failure> {
    let value = run(store, move |store| store.get(&key)).await?;
    Ok(
        value.map_or(StatusCode::NOT_FOUND.into_response(), |value| {
            value.into_response()
        }),
    )
}

async fn log(
    State(store): State<Arc<Store>>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<Entry>>, Failure> {
    Ok(Json(run(store, move |store| store.log(page.from)).await?))
}

async fn visit(State(store): State<Arc<Store>>, Path(name): Path<String>) -> String {
    store.visits.count(&name).to_string()
}

#[derive(Serialize)]
struct Who {
    pid: u32,
    epoch: u64,
    hits: u64,
}

async fn owner(State(store): State<Arc<Store>>, Extension(epoch): Extension<Epoch>) -> Json<Who> {
    Json(Who {
        pid: std::process::id(),
        epoch: epoch.0,
        hits: store.hits(),
    })
}

/// A request that is still in flight when the next version takes over, and needs no store.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "slow\n"
}
