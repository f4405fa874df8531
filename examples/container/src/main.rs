//! A server that knows nothing of handovers: it uses the listener it is given (`LISTEN_FDS`), else
//! binds 0.0.0.0:8080, and on SIGTERM finishes what it has begun. Every answer is `$VERSION`.
#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use axum::{Router, routing::get};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How long a client that was accepted may take to send its request: a server that stops closes
/// connections on which none has begun.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let version = std::env::var("VERSION").unwrap_or_else(|_| env!("CARGO_PKG_VERSION").to_owned());
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);

    let listener = match listenfd::ListenFd::from_env().take_tcp_listener(0)? {
        Some(given) => {
            given.set_nonblocking(true)?;
            TcpListener::from_std(given)?
        }
        None => TcpListener::bind("0.0.0.0:8080").await?,
    };
    let app = Router::new().route("/", get(async move || format!("{version}\n")));
    axum::serve(Door { listener, stopped }, app)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
            stop.send_replace(true);
            tokio::time::sleep(FIRST_REQUEST).await;
        })
        .await?;
    Ok(())
}

/// Lets nobody in once the server stops; whoever waits is let in by the next one.
struct Door {
    listener: TcpListener,
    stopped: watch::Receiver<bool>,
}

impl Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        tokio::select! {
            biased;
            () = told(&mut self.stopped) => std::future::pending().await,
            accepted = Listener::accept(&mut self.listener) => accepted,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

async fn told(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stopped| *stopped).await);
}
