//! Sockets are found in other processes, and duplicated out of them.

mod world;

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

use handover_sys::descriptors::{DuplicateError, duplicate_socket, holders, sockets};
use handover_sys::spawn::Spawn;
use handover_sys::{Pidfd, Signal};
use world::{DEADLINE, pipe};

fn inode(socket: impl AsFd) -> u64 {
    rustix::fs::fstat(socket).unwrap().st_ino
}

/// A process that holds `listener` as descriptor 3 until its input ends.
fn holder(listener: &TcpListener, input: &std::os::fd::OwnedFd) -> handover_sys::spawn::Child {
    Spawn::path("/bin/cat")
        .stdin(input.as_fd())
        .descriptors(vec![listener.as_fd()])
        .spawn()
        .unwrap()
}

#[test]
fn a_listener_outlives_the_process_it_was_taken_from() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, wanted) = (listener.local_addr().unwrap(), inode(&listener));
    let (input, _keep) = pipe();
    let child = holder(&listener, &input);
    drop(listener);
    let held = sockets(child.pid).unwrap();
    assert!(
        held.iter()
            .any(|held| (held.inode, held.number) == (wanted, 3))
    );

    let duplicate: TcpListener = duplicate_socket(&child.pidfd, wanted).unwrap().into();
    assert_eq!(inode(&duplicate), wanted);
    assert!(
        rustix::io::fcntl_getfd(&duplicate)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    child.pidfd.signal(Signal::KILL).unwrap();
    child.pidfd.wait(Some(DEADLINE)).unwrap().expect("gone");
    let client = TcpStream::connect(address).unwrap();
    let (_, from) = duplicate.accept().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
}

#[test]
fn a_socket_that_it_does_not_hold_is_named() {
    let (input, _keep) = pipe();
    let (one, other) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let child = holder(&one, &input);
    let error = duplicate_socket(&child.pidfd, inode(&other)).unwrap_err();
    assert!(
        matches!(error, DuplicateError::NotHeld { pid, inode: asked }
            if (pid, asked) == (child.pid, inode(&other))),
        "{error}"
    );
    child.pidfd.signal(Signal::KILL).unwrap();
    child.pidfd.wait(Some(DEADLINE)).unwrap().expect("gone");
    let error = duplicate_socket(&child.pidfd, inode(&one)).unwrap_err();
    assert!(matches!(error, DuplicateError::Gone { .. }), "{error}");
}

#[test]
fn everybody_who_holds_a_socket_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let unrelated = TcpListener::bind("127.0.0.1:0").unwrap();
    let (input, _keep) = pipe();
    let (first, second) = (holder(&listener, &input), holder(&listener, &input));
    let other = holder(&unrelated, &input);
    let wanted = BTreeSet::from([inode(&listener)]);
    let found = holders(&wanted).unwrap();
    for pid in [first.pid, second.pid, std::process::id()] {
        assert_eq!(found.holding.get(&pid), Some(&wanted), "{pid}");
    }
    assert!(!found.holding.contains_key(&other.pid));
    for child in [first, second, other] {
        child.pidfd.signal(Signal::KILL).unwrap();
        child.pidfd.wait(Some(DEADLINE)).unwrap().expect("gone");
    }
}

/// Init is everybody's, but its descriptors are not, unless this is root.
#[test]
fn what_may_not_be_looked_into_is_told_from_what_holds_nothing() {
    let init = Pidfd::open(1).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = duplicate_socket(&init, inode(&listener)).unwrap_err();
    if rustix::process::geteuid().is_root() {
        assert!(
            matches!(error, DuplicateError::NotHeld { pid: 1, .. }),
            "{error}"
        );
    } else {
        assert!(
            matches!(error, DuplicateError::NotPermitted { pid: 1 }),
            "{error}"
        );
        let found = holders(&BTreeSet::from([inode(&listener)])).unwrap();
        assert!(found.hidden.contains(&1));
    }
}
