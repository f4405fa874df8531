//! I8: every refused message leaves the descriptors of the process as they were.

mod world;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use handover_sys::passing::{PassError, receive, send};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use world::{own_descriptors, turn};

/// The kernel truncates when the receiver may not open as many descriptors as arrive.
#[test]
fn truncation_closes_all_that_arrived() {
    let _turn = turn();
    let (a, b) = UnixStream::pair().unwrap();
    let many: Vec<BorrowedFd<'_>> = vec![a.as_fd(); 253];
    let before = own_descriptors();
    let limit = getrlimit(Resource::Nofile);
    for room in [0u64, 1, 7, 100, 252] {
        send(a.as_fd(), b"x", &many).unwrap();
        // The limit below which exactly `room` numbers are free.
        let used = world::descriptors(std::process::id());
        let free_below =
            |limit: u64| limit - used.iter().filter(|fd| (**fd as u64) < limit).count() as u64;
        let limit_now =
            (0..).find(|limit| free_below(*limit) == room && !used.contains(&(*limit as i32)));
        let small = Rlimit {
            current: limit_now,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, small).unwrap();
        let outcome = receive(b.as_fd(), &mut [0; 8], 253);
        setrlimit(Resource::Nofile, limit).unwrap();
        let error = outcome.unwrap_err();
        let PassError::Truncated { arrived } = error else {
            panic!("{error:?}")
        };
        assert_eq!(arrived as u64, room);
        assert_eq!(own_descriptors(), before, "room for {room}");
    }
}

#[test]
fn a_thousand_messages_leak_nothing() {
    let _turn = turn();
    let (a, b) = UnixStream::pair().unwrap();
    let before = own_descriptors();
    for round in 0..1000 {
        send(a.as_fd(), b"x", &[a.as_fd(), b.as_fd(), a.as_fd()]).unwrap();
        match receive(b.as_fd(), &mut [0; 8], round % 4) {
            Ok(received) => assert_eq!(received.descriptors.len(), 3),
            Err(PassError::TooMany { found: 3, .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        send(a.as_fd(), b"x", &[a.as_fd(); 254]).unwrap_err();
    }
    assert_eq!(own_descriptors(), before);
}
