//! The server of docs/migrate/handover-lib.md.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use axum::{Router, routing::get};
use handover::container::Peer;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let release = std::env::var("RELEASE").unwrap_or_default();
    let peer = Peer::new(SystemTime::now())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    let app = Router::new().route("/", get(async move || format!("{release}\n")));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let server = tokio::spawn(async { serving.await });

    peer.listen(move || async move {
        drop(stop);
        let _ = server.await; // what was begun is finished
    })
    .await?;
    peer.announce().await?;

    terminate.recv().await;
    peer.finish().await?;
    Ok(())
}
