use std::time::Duration;

use super::*;

/// More than any queue holds (`net.unix.max_dgram_qlen`, 512 by default), and any socket's buffer.
const MANY: usize = 2000;

fn three() -> (tempfile::TempDir, [Volume; 3]) {
    let directory = tempfile::tempdir().unwrap();
    let path = super::directory(directory.path(), "api").unwrap();
    let open = |number| Volume::open(path.clone(), PeerId([number; 16])).unwrap();
    (directory, [open(1), open(2), open(3)])
}

async fn hears(volume: &Volume, expected: &[u8]) {
    let heard = tokio::time::timeout(Duration::from_secs(60), volume.receive(64)).await;
    assert_eq!(heard.expect("in time").unwrap(), expected);
}

#[tokio::test]
async fn one_that_does_not_read_keeps_nothing_from_the_others() {
    let (_directory, [sender, _stopped, reader]) = three();
    for number in 0..MANY {
        let bytes = number.to_be_bytes();
        sender.send(&bytes).unwrap();
        hears(&reader, &bytes).await;
    }
}

#[tokio::test]
async fn nothing_is_sent_to_oneself_and_a_long_datagram_is_cut() {
    let (_directory, [sender, one, other]) = three();
    sender.send(&[7; 100]).unwrap();
    hears(&one, &[7; 64]).await;
    other.send(b"back").unwrap();
    hears(&sender, b"back").await;
}

#[tokio::test]
async fn a_removed_socket_is_bound_again_and_a_dropped_one_is_gone() {
    let (_directory, [one, mut other, third]) = three();
    let path = other.place.path.join(&other.own);
    assert!(!other.repair(), "it is there");
    fs::remove_file(&path).unwrap();
    assert!(other.repair());
    one.send(b"again").unwrap();
    hears(&other, b"again").await;
    let path = third.place.path.join(&third.own);
    assert!(path.exists());
    drop(third);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_by_whoever_sends() {
    let (_directory, [one, other, third]) = three();
    let stale = other.place.path.join(format!("{}.sock", PeerId([9; 16])));
    let listeners = stale.with_extension("listeners");
    drop(std::os::unix::net::UnixDatagram::bind(&stale).unwrap());
    drop(std::os::unix::net::UnixListener::bind(&listeners).unwrap());
    assert!(stale.exists() && listeners.exists());
    one.send(b"hello").unwrap();
    assert!(!stale.exists() && !listeners.exists());
    hears(&other, b"hello").await;
    hears(&third, b"hello").await;
}

#[tokio::test]
async fn a_path_longer_than_a_socket_address_will_do() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    fs::create_dir(&deep).unwrap();
    let path = super::directory(&deep, "api").unwrap();
    let one = Volume::open(path.clone(), PeerId([1; 16])).unwrap();
    let other = Volume::open(path, PeerId([2; 16])).unwrap();
    one.send(b"far").unwrap();
    hears(&other, b"far").await;
}

#[test]
fn names_that_are_no_directory_of_ones_own_are_refused() {
    for name in ["", ".", "..", ".hidden", "a/b", "a\0b", &"x".repeat(64)] {
        assert!(!is_service(name), "{name:?}");
    }
    assert!(is_service("api") && is_service(&"x".repeat(63)));
}
