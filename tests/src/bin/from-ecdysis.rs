//! The server of docs/migrate/ecdysis.md.
#![forbid(unsafe_code)]

use axum::{Router, routing::get};
use handover::{Instance, Takeover};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".into());
    let pid_file = std::env::args().nth(2).unwrap_or("web.pid".into());
    let app = Router::new().route("/", get(async || format!("{}\n", std::process::id())));

    let takeover = Takeover::new().pid_file(pid_file);
    let instance = Instance::builder("web").takeover(takeover).start().await?;
    let listener = instance.tcp("http", address).await?;
    instance.ready().await?;
    axum::serve(listener, app.layer(instance.reconnect_layer()))
        .with_graceful_shutdown(instance.draining())
        .await?;
    instance.retired().await;
    Ok(())
}
