//! Programs as files.

mod world;

use std::fs;
use std::io::ErrorKind;

use handover_sys::executable::{Identity, pin};
use world::program;

#[test]
fn a_rewritten_file_is_another_program_and_a_renamed_one_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    program(&path, b"one");
    let first = Identity::of(&path).unwrap();
    assert_eq!(first.size, 3);
    let moved = directory.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    assert_eq!(Identity::of(&moved).unwrap(), first);
    fs::write(&moved, b"three").unwrap();
    assert_ne!(Identity::of(&moved).unwrap(), first);
    assert_eq!(Identity::of(&path).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_pin_keeps_the_file_and_is_close_on_exec() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server");
    program(&path, b"one");
    let before = Identity::of(&path).unwrap();
    let pinned = pin(&path).unwrap();
    assert!(
        rustix::io::fcntl_getfd(&pinned)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    fs::remove_file(&path).unwrap();
    assert_eq!(Identity::of_descriptor(&pinned).unwrap(), before);
    // It does not block writers, nor is it one: the file can still be executed and replaced.
    assert_eq!(pin(&path).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(
        pin(directory.path()).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}
