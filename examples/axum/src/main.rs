//! An axum server that hands over: alone, under `handover run`, under systemd, and as a successor.
//!
//! `example-axum [ADDRESS]`, by default 127.0.0.1:8080. Every answer carries the version that was
//! built in: `VERSION=2 cargo build`.
#![forbid(unsafe_code)]

use std::time::Duration;

use axum::response::Response;
use axum::{Router, http::HeaderValue, middleware, routing::get};

const VERSION: &str = match option_env!("VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8080".to_owned());

    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .route("/slow", get(slow))
        .layer(middleware::map_response(async |mut answer: Response| {
            let version = HeaderValue::from_static(VERSION);
            answer.headers_mut().insert("x-version", version);
            answer
        }));

    // All that handing over takes:
    let instance = handover::Instance::start("web").await?;
    let listener = instance.tcp("http", address).await?; // inherited, or bound
    eprintln!("serving {}", listener.local_addr());
    instance.ready().await?;
    axum::serve(listener, app.layer(instance.reconnect_layer()))
        .with_graceful_shutdown(instance.draining())
        .await?;
    Ok(())
}

/// A request that is still in flight when the next version takes over.
async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_millis(300)).await;
    "slow hello\n"
}
