//! A program that cannot start says why, and leaves nothing behind.

mod world;

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use handover_sys::executable::pin;
use handover_sys::spawn::{Spawn, SpawnError, find_program};
use world::{descriptors, pipe, program, turn};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        program(&path, content);
        path
    }
}

/// The error of a start that must fail, having checked that no child and no descriptor is left.
/// Tests of this file take turns because of that look.
#[track_caller]
fn failure(spawn: &Spawn<'_>) -> SpawnError {
    let own = std::process::id();
    let before = descriptors(own);
    let error = spawn
        .spawn()
        .map(|child| child.pid)
        .expect_err("it must not start");
    assert_eq!(descriptors(own), before);
    let left = rustix::process::waitid(
        rustix::process::WaitId::All,
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG,
    );
    assert!(
        matches!(left, Err(rustix::io::Errno::CHILD)),
        "a child is left: {left:?}"
    );
    error
}

#[test]
fn missing_files() {
    let _turn = turn();
    let place = Place::new();
    let path = place.directory.path().join("nothing");
    assert!(matches!(failure(&Spawn::path(&path)), SpawnError::NotFound { path: p } if p == path));
    assert!(matches!(
        failure(&Spawn::path("/bin/sh/x")),
        SpawnError::NotFound { .. }
    ));
    assert!(matches!(
        failure(&Spawn::path("")),
        SpawnError::NotFound { .. }
    ));
    let dangling = place.directory.path().join("dangling");
    symlink(&path, &dangling).unwrap();
    assert!(matches!(
        failure(&Spawn::path(&dangling)),
        SpawnError::NotFound { .. }
    ));
}

#[test]
fn files_that_may_not_be_executed() {
    let _turn = turn();
    let place = Place::new();
    let path = place.file("plain", b"#!/bin/sh\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = failure(&Spawn::path(&path));
    let SpawnError::NotExecutable { found, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(found, "its mode is 0644");
    let pinned = pin(&path).unwrap();
    let error = failure(&Spawn::executable(pinned.as_fd(), &path));
    assert!(
        matches!(error, SpawnError::NotExecutable { .. }),
        "{error:?}"
    );
    let error = failure(&Spawn::path(place.directory.path()));
    let SpawnError::NotExecutable { found, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(found, "it is a directory");
}

#[test]
fn files_of_another_format() {
    let _turn = turn();
    let place = Place::new();
    let expect = |content: &[u8], wanted: &str| {
        let path = place.file("program", content);
        let error = failure(&Spawn::path(&path));
        let SpawnError::WrongFormat { found, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(found, wanted);
        let pinned = pin(&path).unwrap();
        let error = failure(&Spawn::executable(pinned.as_fd(), &path));
        assert!(matches!(&error, SpawnError::WrongFormat { found, .. } if found == wanted));
        fs::remove_file(path).unwrap();
    };
    expect(b"", "an empty file");
    expect(
        b"echo no first line\n",
        "neither an ELF program nor a script with #!",
    );
    // The same program for a machine that is not this one: aarch64 or x86_64.
    let mut other = fs::read("/bin/true").unwrap();
    let (machine, name) = if cfg!(target_arch = "aarch64") {
        (62u16, "x86_64")
    } else {
        (183u16, "aarch64")
    };
    other[18..20].copy_from_slice(&machine.to_ne_bytes());
    expect(&other, &format!("a 64-bit ELF program for {name}"));
}

#[test]
fn interpreters_that_do_not_exist() {
    let _turn = turn();
    let place = Place::new();
    let expect = |content: &[u8], wanted: &str| {
        let path = place.file("program", content);
        let error = failure(&Spawn::path(&path));
        let SpawnError::MissingInterpreter { interpreter, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(interpreter.as_deref(), Some(wanted));
        fs::remove_file(path).unwrap();
    };
    expect(b"#!/no/such/interpreter -x\n", "/no/such/interpreter");
    expect(b"#!/bin/sh\r\n", "/bin/sh\\r");
    // A program whose loader is not installed, such as one of another C library.
    let mut program = fs::read("/bin/true").unwrap();
    let at = program
        .windows(4)
        .position(|bytes| bytes == b"/lib")
        .expect("a dynamically linked program names its loader");
    program[at..at + 4].copy_from_slice(b"/lob");
    let end = program[at..].iter().position(|byte| *byte == 0).unwrap();
    let loader = String::from_utf8(program[at..at + end].to_vec()).unwrap();
    expect(&program, &loader);
}

#[test]
fn a_pinned_script_is_refused_with_the_reason() {
    let _turn = turn();
    let place = Place::new();
    let path = place.file("script", b"#!/bin/sh\n");
    let pinned = pin(&path).unwrap();
    let error = failure(&Spawn::executable(pinned.as_fd(), &path));
    assert!(
        matches!(error, SpawnError::PinnedScript { .. }),
        "{error:?}"
    );
}

#[test]
fn a_file_being_written_is_busy() {
    let _turn = turn();
    let place = Place::new();
    let path = place.file("program", &fs::read("/bin/true").unwrap());
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let error = failure(&Spawn::path(&path));
    assert!(matches!(error, SpawnError::TextBusy { .. }), "{error:?}");
    drop(writer);
    Spawn::path(&path)
        .spawn()
        .unwrap()
        .pidfd
        .wait(None)
        .unwrap();
}

#[test]
fn arguments_beyond_the_limit_are_too_big() {
    let _turn = turn();
    // One string may have 32 pages (MAX_ARG_STRLEN).
    let error = failure(&Spawn::path("/bin/true").args(["x".repeat(4 << 20)]));
    assert!(
        matches!(error, SpawnError::TooBig { found, .. } if found > 4 << 20),
        "{error:?}"
    );
}

#[test]
fn text_that_no_program_can_receive_is_refused() {
    let _turn = turn();
    let nul = |spawn: Spawn<'_>, wanted: &str| {
        let error = failure(&spawn);
        let SpawnError::ContainsNul { what, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(what, wanted);
    };
    nul(Spawn::path("/bin/tr\0ue"), "the path");
    nul(Spawn::path("/bin/true").arg0("a\0"), "argument 0");
    nul(Spawn::path("/bin/true").args(["a", "\0"]), "argument 2");
    nul(
        Spawn::path("/bin/true").current_dir("/\0"),
        "the working directory",
    );
    for (name, value) in [("A", "\0"), ("A\0", "x"), ("", "x"), ("A=B", "x")] {
        let error = failure(&Spawn::path("/bin/true").env([(name.into(), value.into())]));
        assert!(
            matches!(error, SpawnError::BadEnvironment { .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_directory_that_cannot_be_entered() {
    let _turn = turn();
    let error = failure(&Spawn::path("/bin/true").current_dir("/no/such/directory"));
    let SpawnError::Directory {
        directory, source, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(directory, &PathBuf::from("/no/such/directory"));
    assert_eq!(source.kind(), ErrorKind::NotFound);
}

#[test]
fn more_descriptors_than_the_limit() {
    let _turn = turn();
    let (read, _write) = pipe();
    let error = failure(&Spawn::path("/bin/true").descriptors(vec![read.as_fd(); 1025]));
    assert!(matches!(
        error,
        SpawnError::TooManyDescriptors {
            limit: 1024,
            found: 1025,
            ..
        }
    ));
    // Allowed, but beyond what the process may open; numbers from the middle of the map.
    let (soft, hard) = {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        (limit.current, limit.maximum)
    };
    let small = rustix::process::Rlimit {
        current: Some(64),
        maximum: hard,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, small).unwrap();
    let error = failure(&Spawn::path("/bin/true").descriptors(vec![read.as_fd(); 100]));
    let before = rustix::process::Rlimit {
        current: soft,
        maximum: hard,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
    assert!(matches!(error, SpawnError::Descriptor { .. }), "{error:?}");
}

#[test]
fn programs_are_found_as_a_shell_finds_them() {
    let _turn = turn();
    let place = Place::new();
    let (first, second) = (
        place.directory.path().join("a"),
        place.directory.path().join("b"),
    );
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let path_var = std::env::join_paths([&first, &second]).unwrap();
    let find = |name: &str| find_program(OsStr::new(name), Some(&path_var));

    assert!(matches!(find("tool"), Err(SpawnError::NotOnPath { .. })));
    assert!(matches!(find(""), Err(SpawnError::NotOnPath { .. })));
    program(&second.join("tool"), b"#!/bin/sh\n");
    // A directory and a plain file of that name are passed over.
    fs::create_dir(first.join("tool")).unwrap();
    assert_eq!(find("tool").unwrap(), second.join("tool"));
    fs::write(first.join("plain"), b"").unwrap();
    assert!(matches!(
        find("plain"),
        Err(SpawnError::NotExecutable { path, .. }) if path == first.join("plain")
    ));

    assert!(find_program(OsStr::new("sh"), None).unwrap().is_absolute());
    assert_eq!(find("/bin/sh").unwrap(), PathBuf::from("/bin/sh"));
    assert!(matches!(
        find("./nothing"),
        Err(SpawnError::NotFound { .. })
    ));
    assert!(matches!(
        find("/etc/"),
        Err(SpawnError::NotExecutable { .. })
    ));
}
