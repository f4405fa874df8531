//! Listeners by name: inherited, recognised by their address, or bound (I8).

mod world;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use handover::{Address, Inheritance, Instance, ListenError};
use handover_sys::control::BindError;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpStream, UnixStream};
use world::{echo, inet, instance, instance_of, pair, within};

/// A listening TCP socket, with `SO_REUSEPORT` if two of one address are wanted.
fn socket(address: SocketAddr, reuse_port: bool) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    if address.is_ipv6() {
        socket.set_only_v6(true).unwrap();
    }
    socket.set_reuse_port(reuse_port).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    socket
}

fn local(socket: &Socket) -> SocketAddr {
    socket.local_addr().unwrap().as_socket().unwrap()
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

async fn inherits(listeners: impl IntoIterator<Item = (&str, OwnedFd)>) -> Instance {
    let inheritance = listeners
        .into_iter()
        .fold(Inheritance::default(), |all, (name, fd)| {
            all.listener(name, fd).unwrap()
        });
    instance_of(inheritance).await
}

#[tokio::test]
async fn port_zero_is_resolved_and_survives_by_name() {
    let first = instance().await;
    let listener = first.tcp("http", "127.0.0.1:0").await.unwrap();
    let address = inet(&listener);
    assert_ne!(address.port(), 0);
    assert!(!listener.is_inherited());

    let passed = socket(loopback(), false);
    let bound = local(&passed);
    let second = inherits([("http", passed.into())]).await;
    let mut listener = second.tcp("http", "127.0.0.1:0").await.unwrap();
    assert!(listener.is_inherited());
    assert_eq!(inet(&listener), bound);
    let (mut client, mut connection) = pair(&mut listener).await;
    echo(&mut client, &mut connection, b"over the inherited one").await;
}

#[tokio::test]
async fn the_unspecified_ipv6_address_serves_both_families() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "IPv6 is missing, and CI must have it"
        );
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    let instance = instance().await;
    let mut listener = instance.tcp("http", "[::]:0").await.unwrap();
    let port = inet(&listener).port();
    for client in [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ] {
        let (stream, accepted) = tokio::join!(TcpStream::connect(client), listener.accept());
        let (_, peer) = accepted.unwrap();
        assert_eq!(peer.ip(), Some(client.ip()));
        drop(stream.unwrap());
    }
    let socket = instance.udp("dns", "[::]:0").await.unwrap();
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = (Ipv4Addr::LOCALHOST, socket.local_addr().port());
    client.send_to(b"x", to).await.unwrap();
    let received = within("datagram", socket.recv_from(&mut [0; 4])).await;
    assert_eq!(received.unwrap().1.ip().to_canonical(), Ipv4Addr::LOCALHOST);
}

/// Two sockets of one address are two listeners, told apart by name and never mixed up.
#[tokio::test]
async fn two_listeners_of_one_address_are_two() {
    let a = socket(loopback(), true);
    let address = local(&a);
    let b = socket(address, true);
    let (shared_a, shared_b) = (a.try_clone().unwrap(), b.try_clone().unwrap());
    let instance = inherits([("b", b.into()), ("a", a.into())]).await;
    let mut a = instance.tcp("a", address).await.unwrap();
    let mut b = instance.tcp("b", address).await.unwrap();
    assert_eq!((inet(&a), inet(&b)), (address, address));

    // The kernel spreads connections over both; each arrives at the listener that was asked for.
    let mut at = [0; 2];
    let mut clients = Vec::new();
    while at.contains(&0) {
        clients.push(TcpStream::connect(address).await.unwrap());
        let (_connection, _) = within("accept", async {
            tokio::select! {
                accepted = a.accept() => { at[0] += 1; accepted }
                accepted = b.accept() => { at[1] += 1; accepted }
            }
        })
        .await
        .unwrap();
    }
    // And the names are right: what is stopped on the socket of `a` is stopped in `a`.
    shared_a.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(within("a is broken", a.accept()).await.is_err());
    let (client, accepted) = tokio::join!(TcpStream::connect(address), b.accept());
    accepted.unwrap();
    drop((client.unwrap(), shared_b));
}

#[tokio::test]
async fn a_listener_without_a_name_is_known_by_its_address() {
    for name in ["unknown", "web.socket"] {
        let (one, two) = (socket(loopback(), false), socket(loopback(), false));
        let address = local(&two);
        let instance = inherits([(name, one.into()), (name, two.into())]).await;
        let listener = instance.tcp("http", address).await.unwrap();
        assert!(listener.is_inherited());
        assert_eq!(inet(&listener), address);
        assert_eq!(instance.listeners_unclaimed().len(), 1);
    }
    // Under another name of its own it is somebody else's.
    let other = socket(loopback(), false);
    let address = local(&other);
    let instance = inherits([("admin", other.into())]).await;
    let error = instance.tcp("http", address).await.unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn another_kind_or_family_is_refused_and_stays_claimable() {
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = socket(loopback(), false);
    let bound = local(&tcp);
    let instance = inherits([("dns", udp.into()), ("http", tcp.into())]).await;

    let error = instance.tcp("dns", "127.0.0.1:0").await.unwrap_err();
    let ListenError::WrongKind {
        expected, found, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(*expected, "tcp");
    assert!(found.starts_with("udp 127.0.0.1:"), "{found}");
    instance.udp("dns", "127.0.0.1:0").await.unwrap();

    let error = instance.tcp("http", "[::1]:80").await.unwrap_err();
    let ListenError::WrongFamily {
        expected, found, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((expected.as_str(), found), ("[::1]:80", &bound.to_string()));
    let error = instance.unix("http", "/nowhere").await.unwrap_err();
    assert!(matches!(error, ListenError::WrongKind { .. }), "{error}");
    // The port may differ: whoever holds the listener has chosen it.
    assert_eq!(
        inet(&instance.tcp("http", "127.0.0.1:1").await.unwrap()),
        bound
    );
}

#[tokio::test]
async fn names_are_used_once_and_are_names() {
    let instance = instance().await;
    let _first = instance.tcp("http", "127.0.0.1:0").await.unwrap();
    let error = instance.tcp("http", "127.0.0.1:0").await.unwrap_err();
    assert!(matches!(error, ListenError::NameTaken { .. }), "{error}");
    let error = instance.tcp("a:b", "127.0.0.1:0").await.unwrap_err();
    assert!(matches!(error, ListenError::Name(_)), "{error}");
    // A failure uses nothing up.
    let error = instance.tcp("x", "127.0.0.1").await.unwrap_err();
    assert!(matches!(error, ListenError::Resolve { .. }), "{error}");
    instance.tcp("x", "127.0.0.1:0").await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_says_what_to_do() {
    let holder = socket(loopback(), false);
    let address = local(&holder);
    let error = instance().await.tcp("http", address).await.unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("-l http={address}")),
        "{error}"
    );
}

/// What nobody asks for is closed when the program is ready, so that connections do not wait in a
/// queue that nobody looks at (I8).
#[tokio::test]
async fn what_is_unclaimed_is_reported_and_closed() {
    let (used, unused) = (socket(loopback(), false), socket(loopback(), false));
    let (kept, lost) = (local(&used), local(&unused));
    let instance = inherits([("http", used.into()), ("admin", unused.into())]).await;
    let _http = instance.tcp("http", kept).await.unwrap();
    let unclaimed = instance.listeners_unclaimed();
    assert_eq!(unclaimed.len(), 1);
    assert_eq!(unclaimed[0].name, "admin");
    assert_eq!(unclaimed[0].what, format!("tcp {lost}"));
    instance.ready().await.unwrap();
    assert_eq!(instance.listeners_unclaimed(), []);
    assert!(TcpStream::connect(lost).await.is_err());
    TcpStream::connect(kept).await.unwrap();
}

#[tokio::test]
async fn a_program_may_claim_the_descriptor_or_bind_by_itself() {
    let passed = socket(loopback(), false);
    let bound = local(&passed);
    let instance = inherits([("raw", passed.into())]).await;
    let raw = std::net::TcpListener::from(instance.claim("raw").unwrap());
    assert_eq!(raw.local_addr().unwrap(), bound);
    assert!(instance.claim("raw").is_none());

    let own = instance.tcp_with("own", || Ok(socket(loopback(), true).into()));
    let own = own.await.unwrap();
    let again = socket(inet(&own), true);
    assert_eq!(local(&again), inet(&own));
    let failed = instance.tcp_with("bad", || Err(std::io::Error::other("no")));
    let error = failed.await.unwrap_err();
    assert!(matches!(error, ListenError::Bind { .. }), "{error}");
}

/// Neither the loser of a bind nor the end of an instance takes the path away from who serves it.
#[tokio::test]
async fn a_unix_path_is_never_unlinked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let first = instance().await;
    let mut listener = first.unix("http", &path).await.unwrap();
    let shown = Address::Unix(Some(path.display().to_string()));
    assert_eq!(listener.local_addr(), &shown);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o600, 0o600);

    let error = instance().await.unix("http", &path).await.unwrap_err();
    let ListenError::Path { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        matches!(source, BindError::InUse { pid: Some(pid), .. } if *pid == std::process::id()),
        "{source}"
    );
    let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
    assert_eq!(accepted.unwrap().1, Address::Unix(None));
    drop(client.unwrap());

    // The old one goes, and with it its queue; the path stays for the next, who replaces it.
    drop(listener);
    first.drain();
    within("retired", first.retired()).await;
    drop(first);
    assert!(path.exists());
    let next = instance().await;
    let mut listener = next.unix("http", &path).await.unwrap();
    let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
    drop((client.unwrap(), accepted.unwrap()));
}

#[tokio::test]
async fn a_unix_listener_is_inherited_by_name_or_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let bound = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for name in ["http", "unknown"] {
        let copy = OwnedFd::from(bound.try_clone().unwrap());
        let instance = inherits([(name, copy)]).await;
        let mut listener = instance.unix("http", &path).await.unwrap();
        assert!(listener.is_inherited());
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), listener.accept());
        drop((client.unwrap(), accepted.unwrap()));
    }
}

#[tokio::test]
async fn an_abstract_unix_address_has_no_path() {
    let name = format!("@handover-test-{}", std::process::id());
    let first = instance().await;
    let listener = first.unix("http", &name).await.unwrap();
    assert_eq!(listener.local_addr(), &Address::Unix(Some(name.clone())));
    let error = instance().await.unix("http", &name).await.unwrap_err();
    assert!(matches!(error, ListenError::Path { .. }), "{error}");
}
