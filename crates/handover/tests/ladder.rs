//! The drain on real sockets.

mod world;

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::time::Duration;

use handover::{DrainReport, Inheritance, Stage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use world::{NEVER, echo, eventually, inet, instance, instance_of, ladder, pair, within};

/// Whether the future is still pending after the executor had every chance to run it.
async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    // More turns than the runtime takes before it asks the kernel for events (61 by default).
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn an_idle_instance_retires_at_once() {
    let instance = instance().await;
    let _listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    instance.ready().await.unwrap();
    within("committed", instance.committed()).await;
    assert_eq!(instance.stage(), Stage::Serving);
    instance.drain_by(ladder(NEVER, NEVER));
    within("announced", instance.announced()).await;
    within("draining", instance.draining()).await;
    let report = within("retired", instance.retired()).await;
    assert_eq!(report, DrainReport::default());
    assert_eq!(instance.stage(), Stage::Over);
}

/// The old instance is out of accept while the socket itself lives on with whoever else holds it,
/// and what waits in its queue is answered there (I4).
#[tokio::test]
async fn a_shared_listener_is_left_to_the_others() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let copy = OwnedFd::from(socket.try_clone().unwrap());
    let inheritance = Inheritance::default().listener("http", copy).unwrap();
    let instance = instance_of(inheritance).await;
    let mut listener = instance.tcp("http", "127.0.0.1:1").await.unwrap();
    assert!(listener.is_inherited());
    assert_eq!(inet(&listener), address);
    let (_client, _connection) = pair(&mut listener).await;

    let mut accepting = Box::pin(listener.accept());
    assert!(is_pending(&mut accepting).await);
    instance.drain_by(ladder(NEVER, NEVER));
    eventually("stopped", || instance.stage() == Stage::Notified).await;

    let waiting = std::net::TcpStream::connect(address).unwrap();
    assert!(
        is_pending(&mut accepting).await,
        "it accepts while draining"
    );
    // Nobody has taken it, and nobody has closed the socket.
    socket.set_nonblocking(false).unwrap();
    let (_, peer) = socket.accept().unwrap();
    assert_eq!(peer, waiting.local_addr().unwrap());
}

/// Nobody else can answer what waits in the queue of our own listener.
#[tokio::test]
async fn the_queue_of_our_own_listener_is_served() {
    let instance = instance().await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let address = inet(&listener);
    let mut queued = Vec::new();
    for _ in 0..5 {
        queued.push(TcpStream::connect(address).await.unwrap());
    }
    instance.drain_by(ladder(NEVER, NEVER));
    eventually("stopped", || instance.stage() == Stage::Notified).await;
    assert_eq!(instance.connections(), 5);
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for client in &mut queued {
        let (mut connection, peer) = within("accept", listener.accept()).await.unwrap();
        assert_eq!(peer.inet().unwrap(), client.local_addr().unwrap());
        echo(client, &mut connection, b"late").await;
    }
    let report = within("retired", instance.retired()).await;
    assert_eq!(report.finished, 5);
    assert!(is_pending(&mut Box::pin(listener.accept())).await);
}

#[tokio::test]
async fn a_slow_connection_finishes_within_its_grace() {
    let instance = instance().await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let (mut client, mut connection) = pair(&mut listener).await;
    instance.drain_by(ladder(Duration::ZERO, NEVER));
    within("draining", instance.draining()).await;
    assert_eq!(instance.stage(), Stage::Grace);
    echo(&mut client, &mut connection, b"slow but whole").await;
    drop(connection);
    let report = within("retired", instance.retired()).await;
    let expected = DrainReport {
        finished: 1,
        ..DrainReport::default()
    };
    assert_eq!(report, expected);
}

#[tokio::test]
async fn what_is_left_is_cut_and_counted() {
    let instance = instance().await;
    let mut listener = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let (mut reading, mut connection) = pair(&mut listener).await;
    let reader = tokio::spawn(async move {
        let error = connection.read_u8().await.unwrap_err();
        // Once cut, always cut.
        assert!(connection.write_all(b"x").await.is_err());
        error
    });
    let (mut writing, mut connection) = pair(&mut listener).await;
    let writer = tokio::spawn(async move {
        // The client does not read: this waits for room in the socket for ever.
        loop {
            if let Err(error) = connection.write_all(&[0; 65536]).await {
                return error;
            }
        }
    });
    // Held by code that never looks at it.
    let held = pair(&mut listener).await;

    instance.drain_by(ladder(Duration::ZERO, Duration::ZERO));
    for task in [reader, writer] {
        let error = within("cut", task).await.unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
        let cut = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<handover::Cut>());
        assert_eq!(cut, Some(&handover::Cut));
    }
    let report = within("retired", instance.retired()).await;
    let expected = DrainReport {
        finished: 0,
        cut: 2,
        open: 1,
    };
    assert_eq!(report, expected);
    // A client cannot mistake half an answer for a whole one.
    let error = within("reset", reading.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut rest = Vec::new();
    let error = within("reset", writing.read_to_end(&mut rest))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    drop(held);
}

#[tokio::test]
async fn a_guard_counts_and_learns_of_the_cut() {
    let instance = instance().await;
    let guard = instance.guard();
    assert_eq!(instance.connections(), 1);
    let cut = guard.cut();
    instance.drain_by(ladder(Duration::ZERO, NEVER));
    within("draining", instance.draining()).await;
    // A second request cuts it short.
    instance.drain();
    within("cut", cut).await;
    drop(guard);
    let report = within("retired", instance.retired()).await;
    assert_eq!((report.cut, report.open), (1, 0));
}

#[tokio::test]
async fn a_listener_opened_while_draining_accepts_nothing() {
    let instance = instance().await;
    let _guard = instance.guard();
    instance.drain_by(ladder(NEVER, NEVER));
    eventually("stopped", || instance.stage() == Stage::Notified).await;
    let mut listener = instance.tcp("late", "127.0.0.1:0").await.unwrap();
    let refused = TcpStream::connect(inet(&listener)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(is_pending(&mut Box::pin(listener.accept())).await);
}

#[tokio::test]
async fn udp_stops_receiving_and_still_answers() {
    let instance = instance().await;
    let socket = instance.udp("dns", "127.0.0.1:0").await.unwrap();
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(b"one", socket.local_addr()).await.unwrap();
    let mut buffer = [0; 16];
    let (length, peer) = within("datagram", socket.recv_from(&mut buffer))
        .await
        .unwrap();
    assert_eq!(&buffer[..length], b"one");

    let _guard = instance.guard();
    instance.drain_by(ladder(NEVER, NEVER));
    eventually("stopped", || instance.stage() == Stage::Notified).await;
    client.send_to(b"two", socket.local_addr()).await.unwrap();
    assert!(is_pending(&mut Box::pin(socket.recv_from(&mut buffer))).await);
    socket.send_to(b"answer", peer).await.unwrap();
    let mut answer = [0; 16];
    let length = within("answer", client.recv(&mut answer)).await.unwrap();
    assert_eq!(&answer[..length], b"answer");
}
