//! The notify protocol, with the real sender of systemd where there is one.

mod world;

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use handover_sys::Exit;
use handover_sys::control::BindError;
use handover_sys::notify::{MAX_MESSAGE, Notification, NotifySocket, notify};
use handover_sys::passing::send;
use handover_sys::peer::Credentials;
use handover_sys::spawn::{Spawn, find_program};
use world::{DEADLINE, environment, eventually, own_target, pipe};

fn next(socket: &NotifySocket) -> (Credentials, Vec<Notification>) {
    let mut message = None;
    eventually("a message arrives", || {
        message = socket.receive().unwrap();
        message.is_some()
    });
    message.unwrap()
}

#[test]
fn our_own_sender_is_received_with_its_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    assert_eq!(socket.path(), path);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(socket.receive().unwrap(), None);

    notify(path.as_os_str(), "READY=1\nSTATUS=up").unwrap();
    notify(path.as_os_str(), "STOPPING=1").unwrap();
    let (sender, notifications) = next(&socket);
    assert_eq!(sender.pid, std::process::id());
    assert_eq!(sender.uid, rustix::process::geteuid().as_raw());
    assert_eq!(
        notifications,
        [Notification::Ready, Notification::Status("up".into())]
    );
    assert_eq!(next(&socket).1, [Notification::Stopping]);
    assert_eq!(socket.receive().unwrap(), None);
}

#[test]
fn systemd_notify_is_understood() {
    let path_var = std::env::var_os("PATH");
    let Ok(program) = find_program(OsStr::new("systemd-notify"), path_var.as_deref()) else {
        return world::missing("systemd-notify");
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    let variables = environment(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    let child = Spawn::path(program)
        .args(["--ready", "--status=serving 3 listeners"])
        .env(variables)
        .spawn()
        .unwrap();
    // It sends a barrier after the message and ends when the barrier's pipe is closed.
    let mut notifications = Vec::new();
    eventually("systemd-notify ends", || {
        while let Some((sender, more)) = socket.receive().unwrap() {
            assert_eq!(sender.uid, rustix::process::geteuid().as_raw());
            notifications.extend(more);
        }
        child.pidfd.try_wait().unwrap().is_some()
    });
    assert_eq!(child.pidfd.try_wait().unwrap(), Some(Exit::Code(0)));
    assert!(
        notifications.contains(&Notification::Ready),
        "{notifications:?}"
    );
    let status = Notification::Status("serving 3 listeners".into());
    assert!(notifications.contains(&status), "{notifications:?}");
}

#[test]
fn a_child_is_known_by_its_pid_whatever_it_claims() {
    let Some(perl) = find_program(OsStr::new("perl"), std::env::var_os("PATH").as_deref()).ok()
    else {
        return world::missing("perl");
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    let script = "use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; \
                  send(S, \"MAINPID=1\\nEXTEND_TIMEOUT_USEC=5000000\", 0, \
                  sockaddr_un($ARGV[0])) or die";
    let child = Spawn::path(perl)
        .args([OsStr::new("-e"), OsStr::new(script), path.as_os_str()])
        .spawn()
        .unwrap();
    let (sender, notifications) = next(&socket);
    assert_eq!(sender.pid, child.pid);
    let extend = Notification::ExtendTimeout(Duration::from_secs(5));
    assert_eq!(notifications, [Notification::MainPid(1), extend]);
    assert_eq!(
        child.pidfd.wait(Some(DEADLINE)).unwrap(),
        Some(Exit::Code(0))
    );
}

#[test]
fn descriptors_that_arrive_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(&path).unwrap();
    let (read, write) = pipe();
    send(sender.as_fd(), b"BARRIER=1", &[write.as_fd(); 200]).unwrap();
    drop(write);
    let (_, notifications) = next(&socket);
    assert_eq!(
        notifications,
        [Notification::Other("BARRIER".into(), "1".into())]
    );
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    assert_eq!(
        rustix::io::read(&read, &mut [0; 1]),
        Ok(0),
        "{:?} is closed",
        own_target(&read)
    );
}

#[test]
fn bad_messages_do_not_break_the_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = NotifySocket::bind(&path).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(&[b'x'; MAX_MESSAGE + 1], &path).unwrap();
    sender.send_to(b"", &path).unwrap();
    sender.send_to(b"\xff\xfe\nREADY=1", &path).unwrap();
    assert!(matches!(next(&socket).1[..], [Notification::Malformed(_)]));
    assert_eq!(next(&socket).1, []);
    assert!(matches!(
        next(&socket).1[..],
        [Notification::Malformed(_), Notification::Ready]
    ));
}

#[test]
fn the_file_goes_with_the_socket_but_never_with_anothers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let first = NotifySocket::bind(&path).unwrap();
    assert!(matches!(
        NotifySocket::bind(&path),
        Err(BindError::InUse { .. })
    ));
    std::fs::remove_file(&path).unwrap();
    let second = NotifySocket::bind(&path).unwrap();
    drop(first);
    assert!(path.exists(), "it is the second one's");
    drop(second);
    assert!(!path.exists());
    // A stale one of an instance that was killed.
    drop(UnixDatagram::bind(&path).unwrap());
    NotifySocket::bind(&path).unwrap();
}

#[test]
fn the_sender_knows_paths_and_abstract_names() {
    let name = format!("handover-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let receiver = UnixDatagram::bind_addr(&address).unwrap();
    notify(OsStr::new(&format!("@{name}")), "READY=1").unwrap();
    let mut buffer = [0; 64];
    let bytes = receiver.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..bytes], b"READY=1");

    for address in ["relative", "vsock:2:1", ""] {
        let error = notify(OsStr::new(address), "READY=1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{address:?}");
    }
    let error = notify(OsStr::new("/no/such/socket"), "READY=1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
