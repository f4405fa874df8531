//! The drain as HTTP clients of an axum server see it.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use handover::{Address, DrainReport, Instance, Ladder, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use world::{NEVER, eventually, inet, instance, ladder, within};

/// A server whose slow answers come when the test says so.
struct Server {
    instance: Instance,
    address: SocketAddr,
    finish: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let instance = instance().await;
        let listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
        let address = inet(&listener);
        let finish = watch::Sender::new(false);
        let slow = finish.clone();
        let app = Router::new()
            .route("/", get(async || "hello"))
            .route(
                "/peer",
                get(async |ConnectInfo(peer): ConnectInfo<Address>| peer.to_string()),
            )
            .route(
                "/slow",
                get(async move || {
                    let _ = slow.subscribe().wait_for(|finish| *finish).await;
                    "slow"
                }),
            )
            .layer(instance.reconnect_layer())
            .into_make_service_with_connect_info::<Address>();
        instance.ready().await.unwrap();
        let server = axum::serve(listener, app).with_graceful_shutdown(instance.draining());
        let served = tokio::spawn(async move { server.await.unwrap() });
        Self {
            instance,
            address,
            finish,
            served,
        }
    }

    async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        Client { stream }
    }

    async fn drain(&self, ladder: Ladder, stage: Stage) {
        self.instance.drain_by(ladder);
        eventually("the stage", || self.instance.stage() >= stage).await;
    }

    async fn end(self) -> DrainReport {
        within("the server ends", self.served).await.unwrap();
        within("retired", self.instance.retired()).await
    }
}

/// A keep-alive connection.
struct Client {
    stream: TcpStream,
}

/// An answer: its body, and whether it asks to reconnect.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    body: String,
    close: bool,
}

impl Client {
    async fn send(&mut self, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.unwrap();
    }

    /// `None` when the connection ends instead.
    async fn answer(&mut self) -> Option<Answer> {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = Answer::parse(&bytes) {
                return Some(answer);
            }
            match within("an answer", self.stream.read_buf(&mut bytes)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(path).await;
        self.answer().await.expect("an answer")
    }

    async fn is_closed(&mut self) -> bool {
        matches!(within("the end", self.stream.read_u8()).await, Err(error)
            if error.kind() == std::io::ErrorKind::UnexpectedEof)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        (body.len() == length.parse::<usize>().unwrap()).then(|| Self {
            body: body.to_owned(),
            close: head.lines().any(|line| line == "connection: close"),
        })
    }
}

/// Each client with a keep-alive connection is told to reconnect, by the answer to a request it
/// made anyway; none finds its connection closed under a request.
#[tokio::test]
async fn keep_alive_clients_are_told_to_reconnect() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        assert!(!client.get("/").await.close);
        clients.push(client);
    }
    server.drain(ladder(NEVER, NEVER), Stage::Notified).await;
    for client in &mut clients {
        let answer = client.get("/").await;
        assert_eq!((answer.body.as_str(), answer.close), ("hello", true));
        assert!(client.is_closed().await);
    }
    // The last one has left: the ladder ends early.
    let report = server.end().await;
    assert_eq!((report.finished, report.cut, report.open), (3, 0, 0));
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_idle_connections_are_closed() {
    let server = Server::start().await;
    let mut idle = server.client().await;
    idle.get("/").await;
    let mut slow = server.client().await;
    slow.send("/slow").await;
    eventually("both are accepted", || server.instance.connections() == 2).await;

    server
        .drain(ladder(Duration::ZERO, NEVER), Stage::Grace)
        .await;
    assert!(idle.is_closed().await);
    server.finish.send_replace(true);
    let answer = slow.answer().await.unwrap();
    assert_eq!((answer.body.as_str(), answer.close), ("slow", true));
    let report = server.end().await;
    assert_eq!((report.finished, report.cut, report.open), (2, 0, 0));
}

/// Without a time to reconnect too, who was accepted last gets an answer.
#[tokio::test]
async fn a_connection_accepted_last_gets_its_answer() {
    let server = Server::start().await;
    let mut late = server.client().await;
    eventually("it is accepted", || server.instance.connections() == 1).await;
    server
        .drain(ladder(Duration::ZERO, NEVER), Stage::Notified)
        .await;
    assert_eq!(late.get("/").await.body, "hello");
    let report = server.end().await;
    assert_eq!((report.finished, report.cut, report.open), (1, 0, 0));
}

/// A drain always ends: `axum::serve` returns although a handler never does.
#[tokio::test]
async fn a_request_without_end_is_cut() {
    let server = Server::start().await;
    let mut stuck = server.client().await;
    stuck.send("/slow").await;
    eventually("it is accepted", || server.instance.connections() == 1).await;
    server
        .drain(ladder(Duration::ZERO, Duration::ZERO), Stage::Forced)
        .await;
    assert_eq!(stuck.answer().await, None);
    let report = server.end().await;
    assert_eq!((report.finished, report.cut, report.open), (0, 1, 0));
}

/// Readiness may fail during the announcement while every client is still served.
#[tokio::test]
async fn the_announcement_keeps_accepting() {
    let server = Server::start().await;
    let announced = Ladder {
        announce: NEVER,
        ..ladder(NEVER, NEVER)
    };
    server.drain(announced, Stage::Announced).await;
    within("announced", server.instance.announced()).await;
    let answer = server.client().await.get("/").await;
    assert!(!answer.close);
}

#[tokio::test]
async fn handlers_learn_who_asks() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let own = client.stream.local_addr().unwrap();
    assert_eq!(client.get("/peer").await.body, own.to_string());
}

#[tokio::test]
async fn half_a_request_is_answered_when_the_rest_comes() {
    let server = Server::start().await;
    let mut client = server.client().await;
    client.get("/").await;
    client
        .stream
        .write_all(b"GET / HTTP/1.1\r\nHo")
        .await
        .unwrap();
    server.drain(ladder(NEVER, NEVER), Stage::Notified).await;
    client.stream.write_all(b"st: test\r\n\r\n").await.unwrap();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.body.as_str(), answer.close), ("hello", true));
    assert_eq!(server.end().await.finished, 1);
}
