//! Peers that are no nodes, or faulty ones. Each test ends with two nodes that still speak.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::secure::{Authority, node};
use super::{Node, PATIENCE, control, introduction, pair, settings, socket};
use crate::transport::remote::greeting::{Answer, Greeting, Versions};
use crate::transport::remote::service::{GREET, Octets, stream_path};
use crate::transport::remote::settings::GREETING;
use crate::transport::remote::{Counts, Settings, Timing};
use crate::transport::{Class, Limits, Rejection, Security, Transport};

async fn still_speak(a: &Node, b: &mut Node) {
    a.transport.send(b.id(), control("still")).unwrap();
    assert_eq!(b.control().await, (a.id(), control("still")));
}

async fn until(node: &Node, what: &str, counted: impl Fn(&Counts) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !counted(&node.transport.counts()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(
        waited.await.is_ok(),
        "never {what}: {:?}",
        node.transport.counts()
    );
}

async fn channel(node: &Node) -> Channel {
    Endpoint::from_shared(format!("http://{}", node.address()))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn unary(channel: &Channel, path: &'static str, bytes: Vec<u8>) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    grpc.unary(Request::new(Bytes::from(bytes)), path, Octets)
        .await
        .map(tonic::Response::into_inner)
}

/// Sends messages in one class, then waits for the end of the stream.
async fn stream(channel: &Channel, class: Class, messages: Vec<Bytes>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static(stream_path(class));
    let response = grpc
        .streaming(Request::new(stream::iter(messages)), path, Octets)
        .await?;
    let mut response = response.into_inner();
    while response.message().await?.is_some() {}
    Ok(())
}

fn greeting(number: u64, name: &str) -> Vec<u8> {
    let mut who = introduction(number, name);
    "127.0.0.1:1".clone_into(&mut who.address);
    Greeting {
        who,
        frame: 1 << 20,
    }
    .encode(Versions::default())
}

#[tokio::test]
async fn garbage_is_closed() {
    let (a, mut b) = pair().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 100_000],
        // The preface of HTTP/2, then a frame that announces 16 MiB.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    ] {
        let mut stream = TcpStream::connect(b.socket_address()).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "still open after {} bytes", bytes.len());
        assert!(rest.len() < 1000);
    }
    still_speak(&a, &mut b).await;
}

#[tokio::test]
async fn who_does_not_greet_in_time_is_closed() {
    let hasty = Settings {
        timing: Timing {
            greeting: Duration::from_millis(300),
            ..settings().timing
        },
        ..settings()
    };
    let mut b = Node::start(introduction(2, "b"), socket(), Security::Loopback, hasty);
    // One says nothing, one says a byte at a time, one is polite but never greets.
    let mut silent = TcpStream::connect(b.socket_address()).await.unwrap();
    let mut slow = TcpStream::connect(b.socket_address()).await.unwrap();
    let trickle = async {
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().cycle() {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, trickle).await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest));
    closed.await.unwrap().unwrap();
    let _polite = channel(&b).await;
    until(&b, "closed all", |counts| counts.connections == 0).await;

    let a = Node::plain(1, "a");
    a.learn(&b);
    still_speak(&a, &mut b).await;
}

#[tokio::test]
async fn a_flood_of_connections_keeps_no_node_out() {
    let mut b = Node::plain(2, "b");
    let mut flood = Vec::new();
    for _ in 0..GREETING + 50 {
        flood.push(TcpStream::connect(b.socket_address()).await.unwrap());
    }
    until(&b, "evicted", |counts| counts.evicted >= 50).await;
    assert!(b.transport.counts().connections <= GREETING as u64);
    let a = Node::plain(1, "a");
    a.learn(&b);
    still_speak(&a, &mut b).await;
}

#[tokio::test]
async fn frames_before_a_greeting_are_refused() {
    let (a, mut b) = pair().await;
    let stranger = channel(&b).await;
    let refused = stream(&stranger, Class::Control, vec![Bytes::from_static(b"x")]).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    assert!(unary(&stranger, GREET, b"hello".to_vec()).await.is_ok());
    let refused = stream(&stranger, Class::Control, vec![Bytes::from_static(b"x")]).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let unknown = unary(&stranger, "/handover.hub.Peer/Later", Vec::new()).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    let huge = unary(&stranger, GREET, vec![0; 1 << 20]).await;
    assert_eq!(huge.unwrap_err().code(), Code::OutOfRange);
    still_speak(&a, &mut b).await;
}

#[tokio::test]
async fn a_faulty_node_harms_only_its_own_streams() {
    let small = Settings {
        limits: Limits {
            frame: 100_000,
            ..Limits::default()
        },
        ..settings()
    };
    let mut b = Node::start(introduction(2, "b"), socket(), Security::Loopback, small);
    let faulty = channel(&b).await;
    let answer = unary(&faulty, GREET, greeting(7, "faulty")).await.unwrap();
    let (answer, _) = Answer::decode(&answer, Versions::default()).unwrap();
    assert!(matches!(answer, Answer::Welcome(_)), "{answer:?}");

    // Greeting twice is not welcome.
    let again = unary(&faulty, GREET, greeting(8, "other")).await.unwrap();
    let (again, _) = Answer::decode(&again, Versions::default()).unwrap();
    assert_eq!(again, Answer::Rejected(Rejection::Garbled));

    // A frame of tomorrow, one cut off, one of another class; then one that is right.
    let now = std::time::Instant::now();
    let right = crate::transport::remote::batch::pack(vec![(now, control("right"))]);
    let mut odd = BytesMut::new();
    odd.put_u32_le(2);
    odd.put_slice(&[99, 1]);
    odd.extend(&right);
    odd.put_u32_le(1000);
    odd.put_u8(0);
    let foreign = crate::transport::remote::batch::pack(vec![(now, super::call(1, &Bytes::new()))]);
    stream(&faulty, Class::Control, vec![odd.freeze(), foreign])
        .await
        .unwrap();
    assert_eq!(b.control().await.1, control("right"));
    until(&b, "counted", |counts| counts.unknown >= 3).await;

    // A message over the limit ends its stream.
    let huge = Bytes::from(vec![0; 200_000]);
    let _ = stream(&faulty, Class::Calls, vec![huge]).await;
    let twice = stream(&faulty, Class::Calls, Vec::new()).await;
    assert_eq!(twice.unwrap_err().code(), Code::AlreadyExists);

    let a = Node::plain(1, "a");
    a.learn(&b);
    still_speak(&a, &mut b).await;
}

#[tokio::test]
async fn plaintext_and_strangers_on_a_port_with_tls_are_closed() {
    let authority = Authority::new();
    let a = node(1, "a", authority.tls(&["a"]));
    let mut b = node(2, "b", authority.tls(&["b"]));
    let mut plain = TcpStream::connect(b.socket_address()).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut rest))
        .await
        .unwrap();
    let unencrypted = Node::plain(3, "c");
    unencrypted.learn(&b);
    until(&b, "rejected", |counts| counts.rejected >= 2).await;
    assert!(
        unencrypted.transport.send(b.id(), control("x")).is_err() || b.incoming.control.is_empty()
    );
    a.learn(&b);
    still_speak(&a, &mut b).await;
}
