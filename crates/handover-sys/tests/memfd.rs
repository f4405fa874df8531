//! Memory crosses to another owner without a copy, and cannot change any more.

mod world;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use handover_sys::memfd::{Mapped, Memfd, SealedMemfd, UnsealedError};
use handover_sys::passing::{receive, send_all};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, FdFlags, fcntl_getfd};
use world::pipe;

fn sealed(bytes: &[u8]) -> SealedMemfd {
    let mut memfd = Memfd::create("state", 0).unwrap();
    memfd.write_all(bytes).unwrap();
    memfd.seal().unwrap()
}

/// The memory as somebody else gets it.
fn passed(memfd: &SealedMemfd) -> Result<SealedMemfd, UnsealedError> {
    let (a, b) = UnixStream::pair().unwrap();
    send_all(a.as_fd(), b"state", &[memfd.as_fd()]).unwrap();
    let mut received = receive(b.as_fd(), &mut [0; 16], 1).unwrap();
    SealedMemfd::from_fd(received.descriptors.pop().unwrap())
}

#[test]
fn what_was_written_is_mapped_by_whoever_receives_it() {
    let text = b"acknowledged".repeat(10_000);
    let ours = sealed(&text);
    assert_eq!(ours.len(), text.len() as u64);
    let theirs = passed(&ours).unwrap();
    drop(ours);
    let mapped = theirs.map().unwrap();
    let mut start = [0; 12];
    assert_eq!(theirs.read_at(&mut start, 12).unwrap(), 12);
    assert_eq!(&start, b"acknowledged");
    // The mapping needs neither the descriptor nor this thread.
    drop(theirs);
    let there = std::thread::spawn(move || mapped.same(&text)).join();
    assert!(there.unwrap());

    fn anywhere<T: Send + Sync>() {}
    anywhere::<Mapped>();
}

/// `Mapped` compares like the slice it is.
trait Same {
    fn same(&self, other: &[u8]) -> bool;
}

impl Same for Mapped {
    fn same(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

#[test]
fn it_is_written_in_place_and_grows_by_writing() {
    let mut memfd = Memfd::create("state", 8).unwrap();
    assert_eq!(memfd.len().unwrap(), 8);
    memfd.map_mut().unwrap().copy_from_slice(b"12345678");
    memfd.seek(SeekFrom::Start(6)).unwrap();
    memfd.write_all(b"abcd").unwrap();
    memfd.flush().unwrap();
    assert!(!memfd.is_empty().unwrap());
    memfd.map_mut().unwrap()[0] = b'x';
    let memfd = memfd.seal().unwrap();
    assert!(memfd.map().unwrap().same(b"x23456abcd"));

    let mut shorter = Memfd::create("state", 100).unwrap();
    shorter.set_len(1).unwrap();
    assert!(shorter.seal().unwrap().map().unwrap().same(&[0]));
}

#[test]
fn after_the_seal_nobody_can_change_it() {
    let memfd = sealed(b"as it was");
    let mapped = memfd.map().unwrap();
    let fd = OwnedFd::from(memfd.try_clone().unwrap());
    assert!(fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
    let mut file = File::from(fd);
    let refused = |done: std::io::Result<()>| {
        assert_eq!(
            done.unwrap_err().raw_os_error(),
            Some(Errno::PERM.raw_os_error())
        );
    };
    refused(file.write_all_at(b"x", 0));
    refused(file.set_len(1));
    refused(file.set_len(100));
    refused(file.write_all(b"more"));
    assert!(mapped.same(b"as it was"));
    assert!(memfd.map().unwrap().same(b"as it was"));
}

#[test]
fn nothing_is_something_too() {
    let memfd = sealed(b"");
    assert!(memfd.is_empty());
    assert!(passed(&memfd).unwrap().map().unwrap().is_empty());
    let mut unsealed = Memfd::create("nothing", 0).unwrap();
    assert!(unsealed.map_mut().unwrap().is_empty());
}

#[test]
fn what_could_change_is_refused_and_closed() {
    let (read, write) = pipe();
    let error = SealedMemfd::from_fd(write).unwrap_err();
    assert!(matches!(error, UnsealedError::NotMemory), "{error}");
    let mut byte = [0];
    assert_eq!(File::from(read).read(&mut byte).unwrap(), 0, "it is closed");

    let file = tempfile::tempfile_in("/dev/shm").unwrap();
    let error = SealedMemfd::from_fd(file.into()).unwrap_err();
    assert!(matches!(error, UnsealedError::Unsealed { .. }), "{error}");

    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
        let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        let memfd = memfd_create("half", MemfdFlags::ALLOW_SEALING).unwrap();
        fcntl_add_seals(&memfd, all.difference(missing)).unwrap();
        let error = SealedMemfd::from_fd(memfd).unwrap_err();
        let UnsealedError::Unsealed { expected, found } = error else {
            panic!("{error}");
        };
        assert_eq!(expected & !found, missing.bits());
    }

    let unsealable = memfd_create("never", MemfdFlags::empty()).unwrap();
    let error = SealedMemfd::from_fd(unsealable).unwrap_err();
    assert!(matches!(error, UnsealedError::Unsealed { .. }), "{error}");
}

#[test]
fn it_cannot_be_executed_where_the_kernel_forbids_that() {
    let memfd = sealed(b"#!/bin/true");
    let file = File::from(OwnedFd::from(memfd));
    let mode = file.metadata().unwrap().permissions().mode() & 0o111;
    let seals = rustix::fs::fcntl_get_seals(&file).unwrap();
    assert_eq!(mode == 0, seals.contains(SealFlags::EXEC));
}
