//! Who holds the server's end of a connection.

mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use handover_sys::Signal;
use handover_sys::diag::{
    accepted_inode, holds_inode, tcp_connections, tcp_listeners, unix_sockets,
};
use handover_sys::spawn::Spawn;
use world::{DEADLINE, eventually, pipe};

fn inode(socket: impl AsFd) -> u64 {
    rustix::fs::fstat(socket).unwrap().st_ino
}

fn asked(client: &TcpStream) -> Option<u64> {
    accepted_inode(client.local_addr().unwrap(), client.peer_addr().unwrap()).unwrap()
}

/// The whole life of a connection, asked from the client's end.
fn life(listener: &TcpListener, connect_to: SocketAddr) {
    let client = TcpStream::connect(connect_to).unwrap();
    assert_eq!(asked(&client), None, "waiting in the queue, held by nobody");
    let (server, _) = listener.accept().unwrap();
    assert_eq!(asked(&client), Some(inode(&server)));
    assert!(holds_inode(std::process::id(), inode(&server)).unwrap());
    assert_ne!(asked(&client), Some(inode(&client)));

    let address = (client.local_addr().unwrap(), client.peer_addr().unwrap());
    drop(server);
    drop(client);
    // The listener answers on that port still, but it is not the connection.
    eventually("the connection is gone", || {
        accepted_inode(address.0, address.1).unwrap().is_none()
    });
}

#[test]
fn ipv4() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    life(&listener, listener.local_addr().unwrap());
}

#[test]
fn ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        return world::missing("IPv6");
    };
    life(&listener, listener.local_addr().unwrap());
}

#[test]
fn ipv4_through_a_dual_stack_listener_in_both_spellings() {
    let Ok(listener) = TcpListener::bind("[::]:0") else {
        return world::missing("IPv6");
    };
    let port = listener.local_addr().unwrap().port();
    life(&listener, SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    life(&listener, SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    let mapped = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    life(&listener, SocketAddr::from((mapped, port)));
}

#[test]
fn the_two_ends_may_be_spelled_differently() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let local = client.local_addr().unwrap();
    let mapped = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    let remote = SocketAddr::from((mapped, client.peer_addr().unwrap().port()));
    assert_eq!(accepted_inode(local, remote).unwrap(), Some(inode(&server)));
}

#[test]
fn of_two_processes_with_one_listener_the_one_that_accepted_is_found() {
    let (input, _keep) = pipe();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let holder = |fds: Vec<_>| {
        Spawn::path("/bin/cat")
            .stdin(input.as_fd())
            .descriptors(fds)
            .spawn()
            .unwrap()
    };
    let idle = holder(vec![listener.as_fd()]);
    let serving = holder(vec![listener.as_fd(), server.as_fd()]);
    drop(server);
    let found = asked(&client).unwrap();
    assert!(holds_inode(serving.pid, found).unwrap());
    // Right after the start the other still has copies of all that is ours.
    eventually("the idle one does not", || {
        !holds_inode(idle.pid, found).unwrap()
    });
    assert!(!holds_inode(std::process::id(), found).unwrap());

    serving.pidfd.signal(Signal::KILL).unwrap();
    serving.pidfd.wait(Some(DEADLINE)).unwrap();
    eventually("nobody holds it", || asked(&client).is_none());
    let error = holds_inode(serving.pid, found).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn addresses_without_a_connection() {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    assert_eq!(accepted_inode(nowhere, nowhere).unwrap(), None);
    // An established connection of others must not be mistaken: only the listener matches.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(
        accepted_inode(nowhere, listener.local_addr().unwrap()).unwrap(),
        None
    );
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
    let error = accepted_inode(nowhere, v6).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

/// From the queue to the process that holds it to nobody.
#[test]
fn connections_are_listed_while_a_process_holds_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let of_it = |sockets: Vec<handover_sys::diag::InetSocket>| {
        let mut sockets = sockets.into_iter();
        sockets.find(|socket| socket.local == address)
    };
    let listens = || of_it(tcp_listeners().unwrap()).expect("it listens");
    let accepted = || of_it(tcp_connections().unwrap());
    assert_eq!((listens().inode, listens().waiting), (inode(&listener), 0));
    let client = TcpStream::connect(address).unwrap();
    eventually("it waits in the queue", || listens().waiting == 1);
    assert_eq!(accepted(), None);
    let (server, peer) = listener.accept().unwrap();
    let found = accepted().expect("it was accepted");
    assert_eq!((found.inode, found.peer), (inode(&server), peer));
    drop(server);
    // A process that another test starts at this moment has a copy until it executes its program.
    eventually("nobody holds it", || accepted().is_none());
    drop(client);
}

#[test]
fn unix_sockets_are_listed_with_what_they_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let of_it = || -> Vec<(u64, bool)> {
        let found = unix_sockets().unwrap();
        let ours = found.iter().filter(|s| s.address == path.to_str().unwrap());
        ours.map(|s| (s.inode, s.listening)).collect()
    };
    assert_eq!(of_it(), [(inode(&listener), true)]);
    let _client = UnixStream::connect(&path).unwrap();
    assert_eq!(of_it(), [(inode(&listener), true)]);
    let (server, _) = listener.accept().unwrap();
    assert!(of_it().contains(&(inode(&server), false)));
}
