//! The page as a browser asks for it, without one.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Dashboard, DashboardError, READERS, Server, serve};
use crate::admin::sample::Sample;
use crate::admin::{Desk, Observer};

fn desk() -> Desk {
    Desk::new(Sample::three(30), Arc::new(Observer::default()))
}

async fn page() -> Server {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    serve(Dashboard::at(free), desk()).await.unwrap()
}

async fn connect(server: &Server, method: &str, path: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn ask(server: &Server, method: &str, path: &str, host: &str) -> String {
    let mut answer = String::new();
    let mut stream = connect(server, method, path, host).await;
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_page_and_all_it_needs_come_from_the_node() {
    let server = page().await;
    for path in ["/", "/page.css", "/page.js"] {
        let answer = ask(&server, "GET", path, "127.0.0.1:7700").await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{path}: {answer}");
        assert!(answer.contains("default-src 'none'"), "{path}");
        assert!(!answer.contains("://"), "{path} names something elsewhere");
    }
    let answer = ask(&server, "GET", "/v1/processes?limit=2", "localhost").await;
    assert_eq!(answer.matches("\"epoch\"").count(), 2, "{answer}");
}

#[tokio::test]
async fn the_page_orders_nothing() {
    let server = page().await;
    for path in ["/v1/move", "/v1/pin", "/v1/evacuate", "/v1/abort"] {
        let answer = ask(&server, "POST", path, "localhost").await;
        assert!(answer.starts_with("HTTP/1.0 404"), "{path}: {answer}");
    }
    let answer = ask(&server, "POST", "/v1/status", "localhost").await;
    assert!(answer.starts_with("HTTP/1.0 405"), "{answer}");
}

#[tokio::test]
async fn a_name_of_somebody_else_is_refused() {
    let server = page().await;
    for host in [
        "evil.example",
        "evil.example:7700",
        "127.0.0.1.evil.example",
        "127.0.0.1é",
    ] {
        let answer = ask(&server, "GET", "/v1/status", host).await;
        assert!(answer.starts_with("HTTP/1.0 403"), "{host}: {answer}");
    }
    for host in ["localhost:7700", "[::1]:7700", "127.0.0.1"] {
        let answer = ask(&server, "GET", "/v1/status", host).await;
        assert!(answer.starts_with("HTTP/1.0 200"), "{host}: {answer}");
    }
}

#[tokio::test]
async fn everybody_may_read_it_only_where_that_is_said() {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let refused = serve(Dashboard::at(everywhere), desk()).await;
    assert!(
        matches!(refused, Err(DashboardError::NotLoopback { .. })),
        "{refused:?}"
    );
    let served = serve(Dashboard::at(everywhere).anyone(), desk()).await;
    let answer = ask(&served.unwrap(), "GET", "/", "hub.example").await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
}

#[tokio::test]
async fn the_page_is_told_what_happens_and_when_the_node_ends() {
    let observer = Arc::new(Observer::default());
    let desk = Desk::new(Sample::three(30), Arc::clone(&observer));
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = serve(Dashboard::at(free), desk).await.unwrap();
    let mut stream = connect(&server, "GET", "/live", "localhost").await;
    let mut text = String::new();
    let mut read = vec![0; 4096];
    for wanted in ["event: glance", "event: happened"] {
        while !text.contains(wanted) {
            let count = stream.read(&mut read).await.unwrap();
            assert!(count > 0, "ended before {wanted}: {text}");
            text.push_str(std::str::from_utf8(&read[..count]).unwrap());
        }
        observer.tell(&handover_hub_proto::event::Event::Settled);
    }
    server.finish().await;
    while stream.read(&mut read).await.unwrap_or(0) > 0 {}
}

/// A page that is watched, or a list that is read on and on, takes a place until it is closed.
#[tokio::test]
async fn readers_have_places() {
    let server = page().await;
    let mut read = vec![0; 256];
    let mut open = Vec::new();
    for path in ["/live", "/v1/events"].iter().cycle().take(READERS) {
        let mut stream = connect(&server, "GET", path, "localhost").await;
        let count = stream.read(&mut read).await.unwrap();
        assert!(read[..count].starts_with(b"HTTP/1.0 200"), "{path}");
        open.push(stream);
    }
    for path in ["/live", "/v1/events", "/v1/status"] {
        let answer = ask(&server, "GET", path, "localhost").await;
        assert!(answer.starts_with("HTTP/1.0 503"), "{path}: {answer}");
        assert!(answer.contains("close a page"), "{path}: {answer}");
    }
    open.pop();
    let answered = async {
        while !ask(&server, "GET", "/v1/status", "localhost")
            .await
            .starts_with("HTTP/1.0 200")
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, answered).await.unwrap();
}
