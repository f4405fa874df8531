//! A server that knows nothing of handovers: it uses the listener it is given (`LISTEN_FDS`), else
//! binds 0.0.0.0:8080, and on SIGTERM finishes what it has begun. Every answer is `$VERSION`.
#![forbid(unsafe_code)]

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let version = std::env::var("VERSION").unwrap_or_else(|_| env!("CARGO_PKG_VERSION").to_owned());
    let mut stop = signal(SignalKind::terminate())?;

    let listener = match listenfd::ListenFd::from_env().take_tcp_listener(0)? {
        Some(given) => {
            given.set_nonblocking(true)?;
            TcpListener::from_std(given)?
        }
        None => TcpListener::bind("0.0.0.0:8080").await?,
    };
    let app = Router::new().route("/", get(async move || format!("{version}\n")));
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            stop.recv().await;
        })
        .await?;
    Ok(())
}
