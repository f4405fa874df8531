//! Descriptors cross a socket whole, or not at all.

mod world;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use handover_sys::passing::{MAX_DESCRIPTORS, PassError, receive, send};
use rustix::io::{FdFlags, fcntl_getfd};
use world::{own_target, pipe};

/// Whether the last write end of a pipe is closed: the only way to know that a descriptor which
/// was refused is gone.
#[track_caller]
fn assert_closed(read: OwnedFd) {
    rustix::io::ioctl_fionbio(&read, true).unwrap();
    let mut byte = [0];
    assert_eq!(
        File::from(read)
            .read(&mut byte)
            .expect("a write end is still open"),
        0
    );
}

#[test]
fn as_many_as_the_kernel_allows_cross_in_one_message() {
    let (a, b) = UnixStream::pair().unwrap();
    let pipes: Vec<(OwnedFd, OwnedFd)> = (0..127).map(|_| pipe()).collect();
    let sources: Vec<BorrowedFd<'_>> = pipes
        .iter()
        .flat_map(|(read, write)| [read.as_fd(), write.as_fd()])
        .take(MAX_DESCRIPTORS)
        .collect();
    assert_eq!(sources.len(), 253);
    assert_eq!(send(a.as_fd(), b"listeners", &sources).unwrap(), 9);

    let mut buffer = [0; 64];
    let received = receive(b.as_fd(), &mut buffer, MAX_DESCRIPTORS).unwrap();
    assert_eq!(&buffer[..received.bytes], b"listeners");
    assert_eq!(received.descriptors.len(), 253);
    for (ours, theirs) in sources.iter().zip(&received.descriptors) {
        assert_eq!(
            own_target(ours),
            own_target(theirs),
            "the same file, in the same order"
        );
        assert!(fcntl_getfd(theirs).unwrap().contains(FdFlags::CLOEXEC));
    }
}

#[test]
fn one_more_is_refused_before_anything_is_sent() {
    let (a, b) = UnixStream::pair().unwrap();
    let error = send(a.as_fd(), b"x", &vec![a.as_fd(); 254]).unwrap_err();
    assert!(
        matches!(
            error,
            PassError::TooMany {
                expected: 253,
                found: 254
            }
        ),
        "{error:?}"
    );
    b.set_nonblocking(true).unwrap();
    assert!(
        receive(b.as_fd(), &mut [0; 4], 0)
            .unwrap_err()
            .is_would_block()
    );
}

#[test]
fn more_than_expected_is_refused_and_closed() {
    let (a, b) = UnixStream::pair().unwrap();
    let (read, write) = pipe();
    send(a.as_fd(), b"x", &[write.as_fd(); 3]).unwrap();
    drop(write);
    let error = receive(b.as_fd(), &mut [0; 4], 2).unwrap_err();
    assert!(
        matches!(
            error,
            PassError::TooMany {
                expected: 2,
                found: 3
            }
        ),
        "{error:?}"
    );
    assert_closed(read);
    // The socket works on.
    send(a.as_fd(), b"y", &[]).unwrap();
    assert_eq!(receive(b.as_fd(), &mut [0; 4], 0).unwrap().bytes, 1);
}

#[test]
fn descriptors_need_a_byte_to_travel_with() {
    let (a, _b) = UnixStream::pair().unwrap();
    let error = send(a.as_fd(), b"", &[a.as_fd()]).unwrap_err();
    assert!(
        matches!(error, PassError::NoBytes { found: 1 }),
        "{error:?}"
    );
}

#[test]
fn messages_with_descriptors_are_not_joined() {
    let (a, b) = UnixStream::pair().unwrap();
    let (read, write) = pipe();
    send(a.as_fd(), b"one", &[read.as_fd()]).unwrap();
    send(a.as_fd(), b"two", &[write.as_fd()]).unwrap();
    let mut buffer = [0; 64];
    for (text, source) in [(b"one", &read), (b"two", &write)] {
        let received = receive(b.as_fd(), &mut buffer, 1).unwrap();
        assert_eq!(&buffer[..received.bytes], text);
        assert_eq!(own_target(&received.descriptors[0]), own_target(source));
    }
}

#[test]
fn the_end_of_the_stream_is_zero_bytes() {
    let (a, b) = UnixStream::pair().unwrap();
    drop(a);
    let received = receive(b.as_fd(), &mut [0; 4], 1).unwrap();
    assert_eq!((received.bytes, received.descriptors.len()), (0, 0));
    let error = send(b.as_fd(), b"x", &[]).unwrap_err();
    let PassError::Io(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_datagram_beyond_the_buffer_is_refused_and_its_descriptors_closed() {
    let (a, b) = UnixDatagram::pair().unwrap();
    let (read, write) = pipe();
    send(a.as_fd(), b"too long", &[write.as_fd()]).unwrap();
    drop(write);
    let error = receive(b.as_fd(), &mut [0; 4], 1).unwrap_err();
    assert!(
        matches!(error, PassError::MessageTruncated { room: 4 }),
        "{error:?}"
    );
    assert_closed(read);
}

#[test]
fn a_full_socket_takes_a_part_and_the_descriptors_with_it() {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let (read, write) = pipe();
    let bytes = vec![7; 8 << 20];
    let sent = send(a.as_fd(), &bytes, &[write.as_fd()]).unwrap();
    assert!(sent > 0 && sent < bytes.len());
    drop(write);
    let mut buffer = vec![0; 1 << 16];
    let received = receive(b.as_fd(), &mut buffer, 1).unwrap();
    assert!(received.bytes > 0);
    let mut end = File::from(received.descriptors.into_iter().next().unwrap());
    end.write_all(b"!").unwrap();
    drop(end);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    assert_eq!(text, "!");
}
