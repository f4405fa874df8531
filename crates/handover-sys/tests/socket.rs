//! Sockets say what they are.

mod world;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use handover_sys::peer::credentials;
use handover_sys::socket::{Family, Kind, SocketError, describe, same_network_namespace};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

#[test]
fn listeners_of_every_family() {
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    let facts = describe(&v4).unwrap();
    assert_eq!(
        (facts.family, facts.kind, facts.listening),
        (Family::Inet4, Kind::Stream, true)
    );
    assert_eq!(facts.inet, Some(v4.local_addr().unwrap()));
    assert_eq!(facts.local, Some(v4.local_addr().unwrap().to_string()));
    assert!(!facts.dual_stack);

    let v6 = TcpListener::bind("[::]:0").unwrap();
    let facts = describe(&v6).unwrap();
    assert_eq!(
        (facts.family, facts.kind, facts.listening),
        (Family::Inet6, Kind::Stream, true)
    );
    assert_eq!(
        facts.local,
        Some(format!("[::]:{}", v6.local_addr().unwrap().port()))
    );
    assert!(facts.dual_stack);
    let only = socket_with(
        AddressFamily::INET6,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    let only = only.unwrap();
    rustix::net::sockopt::set_ipv6_v6only(&only, true).unwrap();
    assert!(!describe(&only).unwrap().dual_stack);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let facts = describe(&unix).unwrap();
    assert_eq!(
        (facts.family, facts.kind, facts.listening),
        (Family::Unix, Kind::Stream, true)
    );
    assert_eq!(facts.local.as_deref(), path.to_str());
    assert_eq!(facts.inet, None);

    let name = format!("handover-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let facts = describe(UnixListener::bind_addr(&address).unwrap()).unwrap();
    assert_eq!(facts.local, Some(format!("@{name}")));
}

#[test]
fn sockets_that_do_not_listen() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let facts = describe(&udp).unwrap();
    assert_eq!((facts.kind, facts.listening), (Kind::Datagram, false));
    assert_eq!(facts.inet, Some(udp.local_addr().unwrap()));

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    assert!(!describe(&client).unwrap().listening);

    let (a, _b) = UnixDatagram::pair().unwrap();
    let facts = describe(&a).unwrap();
    assert_eq!(
        (facts.family, facts.kind, facts.local),
        (Family::Unix, Kind::Datagram, None)
    );

    let unbound = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    let facts = describe(unbound.unwrap()).unwrap();
    assert_eq!(
        (facts.listening, facts.local, facts.inet),
        (false, None, None)
    );

    let packets = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    );
    assert_eq!(describe(packets.unwrap()).unwrap().kind, Kind::SeqPacket);
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    );
    let facts = describe(netlink.unwrap()).unwrap();
    assert_eq!((facts.family, facts.kind), (Family::Other(16), Kind::Other));
}

#[test]
fn what_is_no_socket_says_what_it_is() {
    let (read, _write) = world::pipe();
    let error = describe(&read).unwrap_err();
    let SocketError::NotASocket { found, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(found.starts_with("pipe:["), "{found}");
    let file = std::fs::File::open("/etc/passwd").unwrap();
    let error = describe(&file).unwrap_err();
    assert!(error.to_string().contains("/etc/passwd"), "{error}");
}

#[test]
fn the_peer_of_a_unix_socket_is_known() {
    let (a, _b) = UnixStream::pair().unwrap();
    let peer = credentials(&a).unwrap();
    assert_eq!(peer.pid, std::process::id());
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());

    let unconnected = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    assert_eq!(
        credentials(unconnected.unwrap())
            .unwrap_err()
            .raw_os_error(),
        Some(libc::ENOTCONN)
    );
    let (read, _write) = world::pipe();
    assert_eq!(
        credentials(&read).unwrap_err().raw_os_error(),
        Some(libc::ENOTSOCK)
    );
}

#[test]
fn a_listener_of_another_network_namespace_is_recognised() {
    let ours = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = same_network_namespace(&ours).unwrap();
    if here.is_none() {
        return world::missing("SO_NETNS_COOKIE (Linux 5.14)");
    }
    assert_eq!(here, Some(true));
    // A thread can have a network namespace of its own; its sockets stay in it.
    let theirs = std::thread::spawn(|| {
        // SAFETY: only this thread is moved, it owns no state that depends on the namespace, and
        // it ends at once.
        let moved = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
        moved.map(|()| {
            let listener = TcpListener::bind("0.0.0.0:0").unwrap();
            assert_eq!(same_network_namespace(&listener).unwrap(), Some(true));
            listener
        })
    });
    match theirs.join().unwrap() {
        Ok(theirs) => assert_eq!(same_network_namespace(&theirs).unwrap(), Some(false)),
        Err(_) => world::missing("the right to make a network namespace (CAP_SYS_ADMIN)"),
    }
}
