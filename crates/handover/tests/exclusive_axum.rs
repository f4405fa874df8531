//! Requests that write, as HTTP clients of two versions of an axum server see them.

mod world;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::{get, post};
use handover::lease::Epoch;
use handover::{Lease, Listener, Stage};
use handover_proto::message::ToInstance;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use world::coordinator::{ATTEMPT, Coordinator};
use world::side::Side;
use world::store::Script;
use world::{NEVER, eventually, instance_of, ladder, within};

/// One version of a server, with routes that write and routes that do not.
struct Server {
    side: Side,
    listener: Option<Listener>,
    /// Slow writes and slow reads wait for it.
    finish: Arc<Semaphore>,
    /// A slow write has begun.
    entered: Arc<Semaphore>,
    served: Option<JoinHandle<()>>,
    name: &'static str,
}

impl Server {
    async fn of(name: &'static str, number: u64, dir: &Path, socket: &TcpListener) -> Self {
        let (coordinator, inheritance) = Coordinator::with(number, None);
        let socket = socket.try_clone().unwrap();
        let inheritance = inheritance.listener("http", socket.into()).unwrap();
        let instance = instance_of(inheritance).await;
        let listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
        Self {
            side: Side::over(coordinator, instance, dir, Script::default()),
            listener: Some(listener),
            finish: Arc::new(Semaphore::new(0)),
            entered: Arc::new(Semaphore::new(0)),
            served: None,
            name,
        }
    }

    fn serve(&mut self) {
        let instance = self.side.instance.clone();
        let listener = self.listener.take().unwrap();
        let (slow, name) = (Arc::clone(&self.finish), self.name);
        let (slow_write, entered) = (Arc::clone(&self.finish), Arc::clone(&self.entered));
        let app = Router::new()
            .route(
                "/write",
                post(
                    async move |Extension(epoch): Extension<Epoch>, body: String| {
                        format!("{name} {} {}", epoch.0, body.len())
                    },
                ),
            )
            .route(
                "/slow-write",
                post(async move || {
                    entered.add_permits(1);
                    slow_write.acquire().await.unwrap().forget();
                    "written"
                }),
            )
            .layer(instance.owner_layer().body_limit(100_000))
            .route(
                "/slow-read",
                get(async move || {
                    slow.acquire().await.unwrap().forget();
                    name
                }),
            )
            .layer(instance.reconnect_layer());
        let server = axum::serve(listener, app).with_graceful_shutdown(instance.draining());
        self.served = Some(tokio::spawn(async move { server.await.unwrap() }));
    }
}

/// The old version serves.
async fn started(dir: &Path, socket: &TcpListener) -> (Server, Lease) {
    let mut old = Server::of("old", 1, dir, socket).await;
    old.serve();
    old.side.coordinator.start().await;
    let lease = old.side.owned().await.unwrap();
    (old, lease)
}

fn listener() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

struct Client(TcpStream);

impl Client {
    async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// Status, body, and whether it says to reconnect.
    async fn answer(&mut self) -> (u16, String, bool) {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse(&bytes) {
                return answer;
            }
            let read = within("an answer", self.0.read_buf(&mut bytes)).await;
            assert!(read.unwrap() > 0, "the connection ended: {bytes:?}");
        }
    }

    async fn post(&mut self, path: &str, body: &str) -> (u16, String, bool) {
        self.send("POST", path, body).await;
        self.answer().await
    }
}

fn parse(bytes: &[u8]) -> Option<(u16, String, bool)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let head = head.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))?;
    let whole = body.len() == length.parse::<usize>().unwrap();
    let close = head.lines().any(|line| line == "connection: close");
    whole.then(|| (status, body.to_owned(), close))
}

#[tokio::test]
async fn a_writer_waits_while_frozen_and_goes_on_after_an_abort() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = listener();
    let (mut old, lease) = started(dir.path(), &socket).await;
    let mut client = Client::to(address).await;
    let epoch = lease.epoch().0;
    let answer = client.post("/write", "abc").await;
    assert_eq!(answer, (200, format!("old {epoch} 3"), false));

    old.side.coordinator.drain().await;
    client.send("POST", "/write", "abcd").await;
    let early = tokio::time::timeout(Duration::from_millis(20), client.0.readable()).await;
    assert!(early.is_err(), "it waits");
    old.side.coordinator.resume().await;
    assert_eq!(client.answer().await.1, format!("old {epoch} 4"));
}

/// On the connection of the old version: the request goes to the new one, the answer comes back,
/// and the client is told to come there by itself.
#[tokio::test]
async fn a_writer_on_an_old_connection_is_passed_on_to_the_new_owner() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = listener();
    let (mut old, _) = started(dir.path(), &socket).await;
    let mut early = Client::to(address).await;
    let mut late = Client::to(address).await;
    let mut reader = Client::to(address).await;
    reader.send("GET", "/slow-read", "").await;
    early.post("/write", "x").await;
    late.post("/write", "x").await;
    eventually("all are accepted", || old.side.instance.connections() == 3).await;

    let mut new = Server::of("new", 2, dir.path(), &socket).await;
    let introduction = old.side.coordinator.introduce(&mut new.side.coordinator);
    introduction.await;
    new.side.coordinator.hear().await;
    // A slow read does not delay it.
    old.side.coordinator.drain().await;
    early.send("POST", "/write", "while frozen").await;
    old.side.coordinator.seal().await;
    let lease = new.side.activate().await;
    new.serve();
    let epoch = lease.epoch().0;
    let ladder = ladder(NEVER, NEVER);
    let retire = ToInstance::Retire { ladder };
    new.side
        .coordinator
        .say(ToInstance::Commit { id: ATTEMPT })
        .await;
    old.side.coordinator.say(retire).await;
    let answer = early.answer().await;
    assert_eq!(answer, (200, format!("new {epoch} 12"), true));
    let answer = late.post("/write", "after it").await;
    assert_eq!(answer, (200, format!("new {epoch} 8"), true));
    old.finish.add_permits(1);
    assert_eq!(reader.answer().await, (200, "old".into(), true));
}

/// It goes by the ladder once nobody uses it.
#[tokio::test]
async fn a_handover_waits_for_the_handlers_of_writers() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = listener();
    let (mut old, lease) = started(dir.path(), &socket).await;
    let mut client = Client::to(address).await;
    client.send("POST", "/slow-write", "").await;
    // A body that never ends holds nothing up.
    let mut slow = Client::to(address).await;
    let half = b"POST /write HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc";
    slow.0.write_all(half).await.unwrap();
    eventually("both are accepted", || old.side.instance.connections() == 2).await;
    within("a handler writes", old.entered.acquire())
        .await
        .unwrap()
        .forget();
    let (id, within_ms) = (ATTEMPT, 60_000);
    old.side
        .coordinator
        .say(ToInstance::Drain { id, within_ms })
        .await;
    old.side.log.until("drain").await;
    assert_eq!(old.side.coordinator.heard(), None);
    old.finish.add_permits(1);
    assert_eq!(client.answer().await.1, "written");
    let heard = old.side.coordinator.hear().await;
    assert_eq!(heard.unwrap().name(), "Drained");
    old.side.coordinator.resume().await;
    assert!(lease.is_held());
    assert_eq!(old.side.instance.stage(), Stage::Serving);
    slow.0.write_all(b"defghij").await.unwrap();
    assert_eq!(slow.answer().await.0, 200);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = listener();
    let (_old, _) = started(dir.path(), &socket).await;
    let mut client = Client::to(address).await;
    let answer = client.post("/write", &"x".repeat(100_000)).await;
    assert_eq!(answer.0, 200);
    let answer = client.post("/write", &"x".repeat(100_001)).await;
    assert_eq!(answer.0, 413);
}

/// Nobody accepts: the client is told to try again.
#[tokio::test]
async fn without_a_new_owner_a_writer_is_told_to_try_again() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, address) = listener();
    let (mut old, _) = started(dir.path(), &socket).await;
    let mut client = Client::to(address).await;
    client.post("/write", "x").await;
    old.side.coordinator.drain().await;
    client.send("POST", "/write", "x").await;
    drop(socket);
    old.side.coordinator.seal().await;
    let ladder = ladder(NEVER, NEVER);
    old.side
        .coordinator
        .say(ToInstance::Retire { ladder })
        .await;
    let (status, text, close) = client.answer().await;
    assert_eq!((status, close), (503, true), "{text}");
}
