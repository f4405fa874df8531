//! A server that replaces itself, without a supervisor: on SIGHUP it starts its file again, whatever
//! that is by then, and hands over to it.
//!
//! `example-self-upgrade [ADDRESS [PID-FILE]]`, by default 127.0.0.1:8080 and no file.
#![forbid(unsafe_code)]

use axum::{Router, routing::get};
use handover::{Instance, Takeover};

const VERSION: &str = match option_env!("VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or("127.0.0.1:8080".into());
    let hello = format!("hello from version {VERSION}, pid {}\n", std::process::id());
    let app = Router::new().route("/", get(async move || hello));

    // All that replacing itself takes:
    let mut takeover = Takeover::new();
    if let Some(path) = arguments.next() {
        takeover = takeover.pid_file(path);
    }
    let instance = Instance::builder("hello").takeover(takeover);
    let instance = instance.start().await?;
    let listener = instance.tcp("http", address).await?; // taken over, inherited, or bound
    eprintln!("serving {}", listener.local_addr());
    instance.ready().await?;
    axum::serve(listener, app.layer(instance.reconnect_layer()))
        .with_graceful_shutdown(instance.draining())
        .await?;
    instance.retired().await; // who serves now has the pid file
    Ok(())
}
