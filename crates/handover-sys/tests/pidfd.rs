//! A process is known by its descriptor: its end, its signals, its descriptors.

mod world;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use handover_sys::pidfd::{is_same_process, start_time};
use handover_sys::spawn::Spawn;
use handover_sys::{Exit, Pidfd, Signal, usage};
use world::{DEADLINE, descriptors, eventually, missing, pipe, shell};

#[test]
fn the_exit_of_a_child_is_told_again_and_again() {
    let (input, keep) = pipe();
    let child = shell("read x; exit 42")
        .stdin(input.as_fd())
        .spawn()
        .unwrap();
    assert_eq!(child.pidfd.pid(), child.pid);
    assert_eq!(child.pidfd.try_wait().unwrap(), None);
    assert_eq!(
        child.pidfd.wait(Some(Duration::from_millis(1))).unwrap(),
        None
    );
    drop(keep);
    assert_eq!(
        child.pidfd.wait(Some(DEADLINE)).unwrap(),
        Some(Exit::Code(42))
    );
    assert_eq!(child.pidfd.try_wait().unwrap(), Some(Exit::Code(42)));
    assert_eq!(
        child.pidfd.signal(Signal::TERM).unwrap_err().raw_os_error(),
        Some(libc::ESRCH)
    );
    assert_eq!(Exit::Code(42).to_string(), "exited with code 42");
}

#[test]
fn a_signal_that_ends_a_child_is_named() {
    let (input, _keep) = pipe();
    for signal in [Signal::TERM, Signal::KILL, Signal::from_number(40).unwrap()] {
        let child = Spawn::path("/bin/cat")
            .stdin(input.as_fd())
            .spawn()
            .unwrap();
        child.pidfd.signal(signal).unwrap();
        let exit = child.pidfd.wait(Some(DEADLINE)).unwrap();
        assert_eq!(exit, Some(Exit::Signal(signal.number())));
    }
    assert_eq!(Exit::Signal(15).to_string(), "killed by SIGTERM");
}

#[test]
fn of_two_threads_that_wait_both_learn_the_exit() {
    for _ in 0..50 {
        let child = shell("exit 5").spawn().unwrap();
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| child.pidfd.wait(None)))
                .collect();
            for wait in waits {
                assert_eq!(wait.join().unwrap().unwrap(), Some(Exit::Code(5)));
            }
        });
    }
}

#[test]
fn the_end_of_a_process_that_is_no_child_is_seen() {
    let (input, keep) = pipe();
    let (output, write) = pipe();
    let script = "cat <&3 & echo $!; wait; read x <&3";
    let parent = shell(script)
        .stdout(write.as_fd())
        .descriptors(vec![input.as_fd()])
        .process_group()
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(std::fs::File::from(output))
        .read_line(&mut line)
        .unwrap();
    let pid: u32 = line.trim().parse().unwrap();

    let grandchild = Pidfd::open(pid).unwrap();
    let start = start_time(pid).unwrap();
    assert!(is_same_process(pid, start));
    assert!(!is_same_process(pid, start + 1));
    assert_eq!(grandchild.try_wait().unwrap(), None);
    grandchild.signal(Signal::KILL).unwrap();
    assert_eq!(
        grandchild.wait(Some(DEADLINE)).unwrap(),
        Some(Exit::Unknown)
    );
    assert_eq!(grandchild.try_wait().unwrap(), Some(Exit::Unknown));
    // Its parent reaps it.
    eventually("the pid is free or another's", || {
        !is_same_process(pid, start)
    });
    drop(keep);
    assert!(parent.pidfd.wait(Some(DEADLINE)).unwrap().is_some());
}

#[test]
fn what_is_no_process_cannot_be_opened() {
    for pid in [0, u32::MAX] {
        let error = Pidfd::open(pid).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
    let child = shell("exit 0").spawn().unwrap();
    child.pidfd.wait(None).unwrap();
    assert_eq!(
        Pidfd::open(child.pid).unwrap_err().raw_os_error(),
        Some(libc::ESRCH)
    );
    assert_eq!(
        start_time(child.pid).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
}

/// A child opened by pid, as one started by the standard library would be, is reaped too.
#[test]
fn a_child_opened_by_pid_is_waited_for() {
    let mut child = std::process::Command::new("/bin/cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pidfd = Pidfd::open(child.id()).unwrap();
    assert_eq!(pidfd.try_wait().unwrap(), None);
    drop(child.stdin.take());
    assert_eq!(pidfd.wait(Some(DEADLINE)).unwrap(), Some(Exit::Code(0)));
    child.wait().unwrap_err();
}

#[test]
fn a_listener_is_taken_out_of_a_process_that_knows_nothing_of_us() {
    let (input, _keep) = pipe();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let child = Spawn::path("/bin/cat")
        .stdin(input.as_fd())
        .descriptors(vec![input.as_fd(), listener.as_fd()])
        .spawn()
        .unwrap();
    drop(listener);

    let taken = child.pidfd.duplicate(4).unwrap();
    assert!(
        rustix::io::fcntl_getfd(&taken)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    assert!(taken.as_raw_fd() > 2);
    let error = child.pidfd.duplicate(77).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    child.pidfd.signal(Signal::KILL).unwrap();
    child.pidfd.wait(Some(DEADLINE)).unwrap();

    let listener = TcpListener::from(taken);
    let mut client = TcpStream::connect(address).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"still here").unwrap();
    drop(server);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
}

#[test]
fn memory_and_descriptors_of_a_process_are_counted() {
    let (input, keep) = pipe();
    let (output, write) = pipe();
    let child = Spawn::path("/bin/cat")
        .stdin(input.as_fd())
        .stdout(write.as_fd())
        .descriptors(vec![input.as_fd(); 20])
        .spawn()
        .unwrap();
    // A byte that comes back proves that the program has started up and has closed what its loader
    // opened.
    rustix::io::write(&keep, b"?").unwrap();
    assert_eq!(rustix::io::read(&output, &mut [0; 1]), Ok(1));
    assert_eq!(descriptors(child.pid).len(), 23);
    let found = usage(child.pid).unwrap();
    assert_eq!(found.descriptors, 23);
    assert!(
        found.rss_bytes > 4096 && found.rss_bytes < 1 << 30,
        "{found:?}"
    );

    child.pidfd.signal(Signal::KILL).unwrap();
    child.pidfd.wait(Some(DEADLINE)).unwrap();
    assert_eq!(
        usage(child.pid).unwrap_err().kind(),
        std::io::ErrorKind::NotFound
    );
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    // The kernel gives out the number after this one next, unless somebody else is quicker.
    let last = std::path::Path::new("/proc/sys/kernel/ns_last_pid");
    let gone = shell("exit 0").spawn().unwrap();
    assert_eq!(
        gone.pidfd.wait(Some(DEADLINE)).unwrap(),
        Some(Exit::Code(0))
    );
    if std::fs::write(last, gone.pid.to_string()).is_err() {
        return missing("the right to choose a process id (root)");
    }
    eventually("the number is used again", || {
        std::fs::write(last, (gone.pid - 1).to_string()).unwrap();
        let (input, keep) = pipe();
        let next = shell("read x").stdin(input.as_fd()).spawn().unwrap();
        let again = next.pid == gone.pid;
        if again {
            let refused = gone.pidfd.signal(Signal::KILL).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ESRCH));
            assert_eq!(next.pidfd.try_wait().unwrap(), None);
        }
        drop(keep);
        next.pidfd.wait(Some(DEADLINE)).unwrap();
        again
    });
}
