//! A page that shows a hub live, served by one of its nodes.
//!
//! It is read only and has no resources of others. Whoever reaches its address sees what the node
//! knows, process ids and metadata included: addresses other than those of the loopback are refused
//! unless [`Dashboard::anyone`] says so, and requests that name another host than an address, or
//! `localhost`, are refused, so that no page of the internet can read it through a name of its own.

mod live;
#[cfg(test)]
mod tests;

use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::admin::view::{Complaint, Mishap};
use crate::admin::{Desk, read_only};
use crate::serving::Serving;

/// Nothing but what this node serves is loaded; style attributes are the widths of bars.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Requests that are answered at the same time; each open page is one for as long as it is open, and
/// costs a look a second.
const READERS: usize = 64;

const PAGE: &str = include_str!("dashboard/page.html");
const STYLE: &str = include_str!("dashboard/page.css");
const SCRIPT: &str = include_str!("dashboard/page.js");

/// Where the page is served, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dashboard {
    address: SocketAddr,
    anyone: bool,
}

impl Dashboard {
    /// To programs on this machine. Port 0 takes any that is free.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            anyone: false,
        }
    }

    /// To whoever reaches the address: there is no password.
    #[must_use]
    pub fn anyone(mut self) -> Self {
        self.anyone = true;
        self
    }
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Others than programs on this machine could read it.
    #[error(
        "the page would be served on {address} to whoever reaches that, without a password; give \
         a loopback address such as 127.0.0.1:7700, or say that anyone may read it"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("the page cannot be served on {address}: {source}; give another address, or port 0")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A page that is served.
#[derive(Debug)]
pub(crate) struct Server {
    serving: Serving,
    address: SocketAddr,
}

impl Server {
    /// Where it is served.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests and lets answers under way finish.
    pub(crate) async fn finish(mut self) {
        self.serving.finish().await;
    }
}

/// Serves the page.
///
/// # Errors
///
/// [`DashboardError`]; nothing is served then.
pub(crate) async fn serve(dashboard: Dashboard, desk: Desk) -> Result<Server, DashboardError> {
    let Dashboard { address, anyone } = dashboard;
    if !anyone && !address.ip().is_loopback() {
        return Err(DashboardError::NotLoopback { address });
    }
    let failed = |source| DashboardError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let ending = desk.clone();
    let router = router(desk, anyone);
    let serving = Serving::start("dashboard", |stopped| {
        let server = axum::serve(listener, router).with_graceful_shutdown(async move {
            let _ = stopped.await;
            ending.end();
        });
        server.into_future()
    });
    Ok(Server { serving, address })
}

fn router(desk: Desk, anyone: bool) -> Router {
    let text = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    read_only()
        .route("/", text("text/html; charset=utf-8", PAGE))
        .route("/page.css", text("text/css; charset=utf-8", STYLE))
        .route("/page.js", text("text/javascript; charset=utf-8", SCRIPT))
        .merge(live::routes())
        .layer(middleware::from_fn_with_state(
            Arc::new(Semaphore::new(READERS)),
            limit,
        ))
        .layer(middleware::from_fn_with_state(anyone, guard))
        .with_state(desk)
}

/// Answers as many as there is room for. A place is taken until the answer has been read.
async fn limit(State(readers): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let Ok(place) = readers.try_acquire_owned() else {
        let error =
            format!("{READERS} readers are at this node; close a page, or ask another node");
        return refused(StatusCode::SERVICE_UNAVAILABLE, Mishap::Refused, error);
    };
    let (head, body) = next.run(request).await.into_parts();
    let body = match body.size_hint().exact() {
        Some(_) => body,
        None => Body::from_stream(body.into_data_stream().inspect(move |_| {
            let _taken = &place;
        })),
    };
    Response::from_parts(head, body)
}

fn refused(status: StatusCode, kind: Mishap, error: String) -> Response {
    (status, Json(Complaint { kind, error })).into_response()
}

/// Refuses names, and says what browsers may do with the answer.
async fn guard(State(anyone): State<bool>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    // One that is no text is no address either.
    let here = |host: &HeaderValue| host.to_str().is_ok_and(is_here);
    let mut response = match host {
        Some(host) if !anyone && !here(host) => {
            let error =
                "this page is read under its address, or localhost, and under no other name";
            refused(StatusCode::FORBIDDEN, Mishap::Denied, error.to_owned())
        }
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a `Host` is an address, or `localhost`, with or without a port.
fn is_here(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok()
}
