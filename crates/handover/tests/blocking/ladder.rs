//! The drain ladder with real sockets and threads that block in them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use handover::blocking::{Instance, Listener};
use handover::{Cut, DrainReport, Inheritance, Stage};

use crate::world::{
    DEADLINE, NEVER, begin, client, echo, eventually, inet, instance, instance_of, ladder, pair,
};

fn report(finished: u64, cut: u64, open: u64) -> Option<DrainReport> {
    Some(DrainReport {
        finished,
        cut,
        open,
    })
}

fn assert_cut(error: &std::io::Error) {
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{error}");
    let cut = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Cut>());
    assert_eq!(cut, Some(&Cut));
}

#[test]
fn an_idle_instance_retires_at_once() {
    let instance = instance();
    instance.ready().unwrap();
    assert!(instance.committed_within(Duration::ZERO));
    assert!(!instance.announced_within(Duration::ZERO));
    instance.drain();
    assert_eq!(instance.retired_within(DEADLINE), report(0, 0, 0));
    assert_eq!(instance.retired(), DrainReport::default());
}

/// The old instance is out of accept while the socket itself lives on with whoever else holds it,
/// and what waits in its queue is answered there (I4).
#[test]
fn a_shared_listener_is_left_to_the_others() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let inherit = || {
        let copy = socket.try_clone().unwrap().into();
        instance_of(Inheritance::default().listener("http", copy).unwrap())
    };
    let (old, new) = (inherit(), inherit());
    let accepting = |instance: &Instance| {
        let listener = Arc::new(instance.tcp("http", "127.0.0.1:0").unwrap());
        // Several threads, of which one waits and the others wait for it.
        [(); 4].map(|()| {
            let listener = Arc::clone(&listener);
            begin("accept ends", move || {
                let mut accepted = 0;
                for connection in listener.incoming() {
                    connection.unwrap().write_all(b"hello").unwrap();
                    accepted += 1;
                }
                accepted
            })
        })
    };
    let (old_threads, new_threads) = (accepting(&old), accepting(&new));
    let ask = || {
        let mut text = String::new();
        client(address).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
    };
    const ASKED: u64 = 300;
    // Each connection wakes both; the loser of the race goes on waiting.
    (0..ASKED).for_each(|_| ask());
    old.drain();
    let accepted_by = |threads: [crate::world::Task<u64>; 4]| -> u64 {
        threads.into_iter().map(|thread| thread.end()).sum()
    };
    let by_old = accepted_by(old_threads);
    assert!(old.retired_within(DEADLINE).is_some());
    (0..ASKED).for_each(|_| ask());
    new.drain();
    assert_eq!(by_old + accepted_by(new_threads), 2 * ASKED);
    // Open all the time: it waits in the queue of whoever holds the socket.
    drop(client(address));
}

/// Nobody else can answer what waits in the queue of our own listener.
#[test]
fn the_queue_of_our_own_listener_is_served() {
    let instance = instance();
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    let address = inet(&listener);
    let mut clients = [(); 3].map(|()| client(address));
    instance.drain_by(ladder(NEVER, NEVER));
    eventually("stopped", || instance.stage() == Stage::Notified);
    eventually("counted", || instance.connections() == 3);
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for connection in listener.incoming() {
        connection.unwrap().write_all(b"served").unwrap();
    }
    for client in &mut clients {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "served");
    }
    assert_eq!(instance.retired_within(DEADLINE), report(3, 0, 0));
}

#[test]
fn a_slow_connection_finishes_within_its_grace() {
    let instance = instance();
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    let (mut client, connection) = pair(&listener);
    instance.drain_by(ladder(Duration::ZERO, NEVER));
    assert!(instance.draining_within(DEADLINE));
    assert!(listener.accept().unwrap().is_none());
    echo(&mut client, &connection, b"slowly");
    assert!(instance.retired_within(Duration::ZERO).is_none());
    drop(connection);
    assert_eq!(instance.retired_within(DEADLINE), report(1, 0, 0));
}

/// Threads that block in a read or a write, by our methods or on the stream below, all get out.
#[test]
fn what_is_left_is_cut_and_counted() {
    let instance = instance();
    let listener = instance.tcp("http", "127.0.0.1:0").unwrap();
    let (mut reading, connection) = pair(&listener);
    let reader = begin("the reader ends", move || {
        let error = (&connection).read(&mut [0]).unwrap_err();
        // Once cut, always cut.
        assert_cut(&(&connection).write(b"x").unwrap_err());
        error
    });
    let (mut writing, mut connection) = pair(&listener);
    // The client does not read: this waits for room in the socket for ever.
    let writer = begin("the writer ends", move || {
        loop {
            if let Err(error) = connection.write_all(&[0; 65536]) {
                return error;
            }
        }
    });
    let (_raw_client, connection) = pair(&listener);
    let raw_reader = begin("the raw reader ends", move || {
        let mut stream: &TcpStream = &connection;
        stream.read(&mut [0]).unwrap()
    });
    let (mut raw_writing, connection) = pair(&listener);
    let draining = begin("the client reads on", move || {
        // Takes all that comes, so that this writer always finds room.
        std::io::copy(&mut raw_writing, &mut std::io::sink()).err()
    });
    let raw_writer = begin("the raw writer ends", move || {
        let mut stream: &TcpStream = &connection;
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    // Held by code that never looks at it.
    let held = pair(&listener);

    instance.drain_by(ladder(Duration::ZERO, Duration::ZERO));
    for task in [reader, writer] {
        assert_cut(&task.end());
    }
    assert_eq!(raw_reader.end(), 0);
    raw_writer.end();
    assert_eq!(instance.retired_within(DEADLINE), report(0, 4, 1));
    // A client cannot mistake half an answer for a whole one.
    for client in [&mut reading, &mut writing] {
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    draining.end();
    drop(held);
}

#[test]
fn unix_connections_are_cut_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.sock");
    let instance = instance();
    let listener: Listener<UnixStream> = instance.unix("local", &path).unwrap();
    assert_eq!(listener.local_addr().to_string(), path.to_str().unwrap());
    let mut client = UnixStream::connect(&path).unwrap();
    let connection = listener.accept().unwrap().unwrap();
    connection.set_read_timeout(Some(DEADLINE)).unwrap();
    let reader = begin("the reader ends", move || {
        (&connection).read(&mut [0]).unwrap_err()
    });
    instance.drain_by(ladder(Duration::ZERO, Duration::ZERO));
    assert_cut(&reader.end());
    assert_eq!(instance.retired_within(DEADLINE), report(0, 1, 0));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_guard_counts_and_learns_of_the_cut() {
    let instance = instance();
    let guard = instance.guard();
    assert_eq!(instance.connections(), 1);
    instance.drain_by(ladder(Duration::ZERO, NEVER));
    assert!(instance.draining_within(DEADLINE));
    assert!(!guard.is_cut() && !guard.cut_within(Duration::ZERO));
    // A second request cuts it short.
    instance.drain();
    assert!(guard.cut_within(DEADLINE));
    drop(guard);
    assert_eq!(instance.retired_within(DEADLINE), report(0, 1, 0));
}

#[test]
fn a_listener_opened_while_draining_accepts_nothing() {
    let instance = instance();
    let _guard = instance.guard();
    instance.drain_by(ladder(NEVER, NEVER));
    eventually("stopped", || instance.stage() == Stage::Notified);
    let listener = instance.tcp("late", "127.0.0.1:0").unwrap();
    let refused = TcpStream::connect(inet(&listener)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(listener.accept().unwrap().is_none());
}

#[test]
fn udp_stops_receiving_and_still_answers() {
    let instance = instance();
    let socket = Arc::new(instance.udp("dns", "127.0.0.1:0").unwrap());
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.send_to(b"one", socket.local_addr()).unwrap();
    let mut buffer = [0; 16];
    let (length, peer) = socket.recv_from(&mut buffer).unwrap().unwrap();
    assert_eq!(&buffer[..length], b"one");

    let _guard = instance.guard();
    let waiting = Arc::clone(&socket);
    let receiving = begin("receive ends", move || {
        waiting.recv_from(&mut [0; 16]).unwrap()
    });
    instance.drain_by(ladder(NEVER, NEVER));
    assert_eq!(receiving.end(), None);
    client.send_to(b"two", socket.local_addr()).unwrap();
    assert_eq!(socket.recv_from(&mut buffer).unwrap(), None);
    socket.send_to(b"answer", peer).unwrap();
    let length = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
}
