//! Who is at the other end of a socket.
#![cfg(target_os = "linux")]

use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use handover_sys::peer;

#[test]
fn the_process_that_connected_is_held_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let script = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                  sys.stdin.read()";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("python3, which the test suite installs");
    let (stream, _) = listener.accept().unwrap();
    let process = peer::process(&stream).unwrap().expect("of our namespace");
    assert_eq!(process.try_wait().unwrap(), None);
    drop(child.stdin.take());
    let ended = process.wait(Some(Duration::from_secs(30))).unwrap();
    assert!(ended.is_some());
    let _ = child.wait();
}

#[test]
fn a_network_namespace_has_one_number() {
    let (stream, _other) = UnixStream::pair().unwrap();
    let ours = handover_sys::socket::network_namespace().unwrap();
    assert_eq!(ours, handover_sys::socket::network_namespace().unwrap());
    let same = handover_sys::socket::same_network_namespace(&stream).unwrap();
    assert_eq!(same, ours.map(|_| true));
}
