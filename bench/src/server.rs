//! The server that is upgraded: axum with the library. Its version is its process id.

use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;

use crate::Failure;

static HELD: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// `server ADDRESS [START_DELAY_MS]`
pub(crate) async fn run(options: &[&str]) -> Result<(), Failure> {
    let address = *options.first().ok_or("server needs an address")?;
    let delay = options.get(1).map_or(Ok(0), |text| text.parse())?;
    // As a program that loads its configuration and warms its caches would.
    std::thread::sleep(Duration::from_millis(delay));
    serve(handover::Instance::start("bench").await?, address).await
}

/// Serves what an instance has or binds, until it is drained.
pub(crate) async fn serve(instance: handover::Instance, address: &str) -> Result<(), Failure> {
    let version: &'static str = std::process::id().to_string().leak();
    let app = Router::new()
        .route(
            "/",
            get(async |State(version): State<&'static str>| ([("x-version", version)], "ok")),
        )
        .route(
            "/slow",
            get(async || {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "slow"
            }),
        )
        .route("/hold", get(hold))
        .with_state(version);
    let listener = instance.tcp("http", address.to_owned()).await?;
    instance.ready().await?;
    axum::serve(listener, app.layer(instance.reconnect_layer()))
        .with_graceful_shutdown(instance.draining())
        .await?;
    Ok(())
}

/// Makes this process hold as many MiB, touched.
async fn hold(Query(wanted): Query<Vec<(String, usize)>>) -> String {
    let mib: usize = wanted.iter().map(|(_, mib)| mib).sum();
    let held = tokio::task::spawn_blocking(move || {
        let mut held = HELD
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        held.resize(mib << 20, 1);
        held.len() >> 20
    });
    held.await.unwrap_or_default().to_string()
}
