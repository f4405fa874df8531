//! A key-value store that hands over: one owner of a directory, replaced by its next version while
//! clients write, without an acknowledged write lost and never with two writers.
//!
//! `example-kv [DIRECTORY [ADDRESS]]`, by default ./kv-data and 127.0.0.1:8080. With `KV_TAKEOVER` set
//! it needs no supervisor for that: a second one on the same directory takes over, and SIGHUP makes
//! it replace itself.
#![forbid(unsafe_code)]

mod api;
mod owner;
mod store;
mod visits;

use std::process::ExitCode;
use std::sync::Arc;

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("example-kv: {error}"); // who has the directory, for example
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let (directory, address) = (argument("kv-data"), argument("127.0.0.1:8080"));
    std::fs::create_dir_all(&directory)?;
    let store = Arc::new(store::Store::closed(&directory));

    // All that handing over takes, besides the hooks in owner.rs:
    let mut instance = handover::Instance::builder("kv");
    if std::env::var_os("KV_TAKEOVER").is_some() {
        // Beside the data: who owns them is who is taken over.
        let socket = std::path::absolute(&directory)?.join("takeover.sock");
        instance = instance.takeover(handover::Takeover::new().socket(socket));
    }
    let instance = instance.start().await?;
    let listener = instance.tcp("http", address).await?; // inherited, or bound
    instance.own(&directory, owner::Owner::new(&store)).await?;
    eprintln!("serving {}", listener.local_addr());
    let app = api::owned(store).layer(instance.owner_layer());
    let app = app.merge(api::anybody()).layer(instance.reconnect_layer());
    axum::serve(listener, app)
        .with_graceful_shutdown(instance.draining())
        .await?;
    instance.retired().await; // the database is closed, and the lease released
    Ok(())
}
