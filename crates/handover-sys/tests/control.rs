//! A control socket is private from its first moment and never takes a live one's place.

mod world;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use handover_sys::control::{BindError, MAX_PATH, bind_private};
use rustix::fs::{FlockOperation, flock};
use world::turn;

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Connects and passes a byte.
fn talk(path: &Path, listener: &UnixListener) {
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"?").unwrap();
    let mut byte = [0];
    listener.accept().unwrap().0.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"?");
}

#[test]
fn a_new_socket_serves_and_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let listener = bind_private(&path).unwrap();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(
        entries(directory.path()),
        ["control.sock"],
        "nothing is left beside it"
    );
    talk(&path, &listener);
}

#[test]
fn a_live_socket_is_left_alone_and_its_owner_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let listener = bind_private(&path).unwrap();
    let error = bind_private(&path).unwrap_err();
    let BindError::InUse { pid, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    assert_eq!(entries(directory.path()), ["control.sock"]);
    // The probe waits in the queue; the client comes after it.
    drop(listener.accept().unwrap());
    talk(&path, &listener);
}

#[test]
fn a_live_socket_that_never_accepts_does_not_hold_us_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stuck");
    let listener = bind_private(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _queue = UnixStream::connect(&path).unwrap();
    assert!(matches!(bind_private(&path), Err(BindError::InUse { .. })));
}

#[test]
fn a_live_socket_of_another_kind_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("datagrams");
    let socket = UnixDatagram::bind(&path).unwrap();
    assert!(matches!(
        bind_private(&path),
        Err(BindError::InUse { pid: None, .. })
    ));
    drop(socket);
    bind_private(&path).unwrap();
}

#[test]
fn a_stale_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        UnixStream::connect(&path).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    let listener = bind_private(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    assert_eq!(entries(directory.path()), ["control.sock"]);
    talk(&path, &listener);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let live = directory.path().join("live");
    let _listener = bind_private(&live).unwrap();
    let path = directory.path().join("x");
    let expect = |wanted: &str| {
        let error = bind_private(&path).unwrap_err();
        assert!(
            matches!(&error, BindError::NotASocket { found, .. } if *found == wanted),
            "{error:?}"
        );
        assert!(
            fs::symlink_metadata(&path).is_ok(),
            "{wanted} is still there"
        );
        assert_eq!(entries(directory.path()), ["live", "x"]);
    };
    fs::write(&path, "precious").unwrap();
    expect("a regular file");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    for target in [Path::new("/no/such/file"), &live] {
        symlink(target, &path).unwrap();
        expect("a symbolic link");
        fs::remove_file(&path).unwrap();
    }
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    expect("a named pipe");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    expect("a directory");
}

#[test]
fn the_longest_path_works_and_one_more_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let room = MAX_PATH - directory.path().as_os_str().len() - 1;
    let path = directory.path().join("x".repeat(room));
    assert_eq!(path.as_os_str().len(), 107);
    let listener = bind_private(&path).unwrap();
    talk(&path, &listener);

    let path = directory.path().join("x".repeat(room + 1));
    let error = bind_private(&path).unwrap_err();
    assert!(
        matches!(
            error,
            BindError::TooLong {
                limit: 107,
                found: 108,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(entries(directory.path()).len(), 1);
}

#[test]
fn a_missing_or_unusable_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("none/control.sock");
    let error = bind_private(&missing).unwrap_err();
    assert!(
        matches!(&error, BindError::NoDirectory { directory: d, .. } if d.ends_with("none")),
        "{error:?}"
    );
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        bind_private(file.join("x")),
        Err(BindError::NoDirectory { .. })
    ));
    assert!(matches!(bind_private("/"), Err(BindError::Io { .. })));
    assert!(matches!(bind_private(""), Err(BindError::Io { .. })));
}

#[test]
fn a_directory_locked_by_somebody_else_is_busy() {
    let directory = tempfile::tempdir().unwrap();
    let lock = fs::File::open(directory.path()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let path = directory.path().join("control.sock");
    assert!(matches!(bind_private(&path), Err(BindError::Busy { .. })));
    drop(lock);
    bind_private(&path).unwrap();
}

/// With a mask that takes nothing away, another thread looks as often as it can.
#[test]
fn there_is_no_moment_at_which_others_could_connect() {
    let _turn = turn();
    let before = rustix::process::umask(rustix::fs::Mode::empty());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let done = AtomicBool::new(false);
    let looks = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                for entry in fs::read_dir(directory.path()).unwrap().flatten() {
                    // It may be gone by now.
                    let Ok(metadata) = fs::symlink_metadata(entry.path()) else {
                        continue;
                    };
                    let mode = metadata.permissions().mode() & 0o7777;
                    let allowed = if metadata.is_dir() { 0o700 } else { 0o600 };
                    assert_eq!(mode, allowed, "{:?}", entry.path());
                    looks.fetch_add(1, Ordering::SeqCst);
                }
                // A socket that is seen is one that answers.
                match UnixStream::connect(&path) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
                }
            }
        });
        let mut rounds = 0;
        while rounds < 500 || looks.load(Ordering::SeqCst) < 100 {
            let listener = bind_private(&path).unwrap();
            // Removed first, so that the watcher never meets a stale one.
            fs::remove_file(&path).unwrap();
            drop(listener);
            rounds += 1;
            if watcher.is_finished() {
                break;
            }
        }
        done.store(true, Ordering::SeqCst);
        watcher.join().unwrap();
    });
    rustix::process::umask(before);
}

/// All find the same stale socket; one replaces it, the others find it live.
#[test]
fn of_many_that_replace_a_stale_socket_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    for _ in 0..50 {
        drop(UnixListener::bind(&path).unwrap());
        let barrier = std::sync::Barrier::new(8);
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        bind_private(&path)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for outcome in lost {
            let error = outcome.unwrap_err();
            assert!(matches!(error, BindError::InUse { .. }), "{error:?}");
        }
        assert_eq!(entries(directory.path()), ["control.sock"]);
        fs::remove_file(&path).unwrap();
    }
}
