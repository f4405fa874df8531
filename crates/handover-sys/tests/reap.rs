//! Orphans are reaped, and no status that somebody waits for is taken.

mod world;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use handover_sys::reap::{become_subreaper, reap_orphans};
use handover_sys::{Exit, Pidfd};
use world::{DEADLINE, eventually, pipe, run, shell, turn};

#[test]
fn orphans_come_to_us_and_our_children_are_left_alone() {
    let _turn = turn();
    become_subreaper().unwrap();
    let (input, keep) = pipe();
    // Three orphans that wait for the pipe, then end in three ways.
    let script = "for i in 1 2; do (read x <&3; exit 7$i) & echo $!; done; \
                  (read x <&3; exec sh -c 'kill -15 $$') & echo $!";
    let (parent, exit, text) = {
        let (read, write) = pipe();
        let child = shell(script)
            .stdout(write.as_fd())
            .descriptors(vec![input.as_fd()])
            .spawn()
            .unwrap();
        drop(write);
        let mut lines = Vec::new();
        let mut reader = std::fs::File::from(read);
        let mut byte = [0];
        while lines.iter().filter(|byte| **byte == b'\n').count() < 3 {
            assert_eq!(reader.read(&mut byte).unwrap(), 1);
            lines.push(byte[0]);
        }
        let exit = child.pidfd.wait(Some(DEADLINE)).unwrap();
        (child.pid, exit, String::from_utf8(lines).unwrap())
    };
    assert_eq!(exit, Some(Exit::Code(0)));
    let orphans: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(reap_orphans(|_| false), [], "they run");

    // Ours: one held, one of the standard library.
    let held = shell("exit 3").spawn().unwrap();
    let mut standard = std::process::Command::new("/bin/sh")
        .args(["-c", "exit 4"])
        .spawn()
        .unwrap();
    let standard_pid = standard.id();

    drop(keep);
    let mut reaped = BTreeMap::new();
    eventually("all orphans are reaped", || {
        reaped.extend(reap_orphans(|pid| pid == standard_pid));
        reaped.len() >= 3
    });
    assert_eq!(
        orphans.iter().map(|pid| reaped[pid]).collect::<Vec<_>>(),
        [Exit::Code(71), Exit::Code(72), Exit::Signal(15)],
        "orphans of {parent}: {reaped:?}"
    );
    assert_eq!(
        held.pidfd.wait(Some(DEADLINE)).unwrap(),
        Some(Exit::Code(3))
    );
    assert_eq!(standard.wait().unwrap().code(), Some(4));
    assert_eq!(reap_orphans(|_| false), []);
}

#[test]
fn a_child_whose_pidfd_was_dropped_is_nobodys() {
    let _turn = turn();
    let child = shell("exit 9").spawn().unwrap();
    let pid = child.pid;
    drop(child);
    let mut reaped = Vec::new();
    eventually("it is reaped", || {
        reaped.extend(reap_orphans(|_| false));
        !reaped.is_empty()
    });
    assert_eq!(reaped, [(pid, Exit::Code(9))]);
}

/// The predicate protects what this crate does not know.
#[test]
fn an_owned_pid_is_left_to_its_pidfd() {
    let _turn = turn();
    let mut command = std::process::Command::new("/bin/sh")
        .args(["-c", "exit 6"])
        .spawn()
        .unwrap();
    let pid = command.id();
    let pidfd = Pidfd::open(pid).unwrap();
    // The pidfd is readable once it has ended; peek without taking.
    eventually("it has ended", || {
        let mut fds = [rustix::event::PollFd::new(
            &pidfd,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, Some(&rustix::event::Timespec::default())).unwrap() == 1
    });
    for _ in 0..10 {
        assert_eq!(reap_orphans(|found| found == pid), []);
    }
    assert_eq!(pidfd.try_wait().unwrap(), Some(Exit::Code(6)));
    command.wait().unwrap_err();
}

/// A reaper that never stops against threads that start programs which end at once.
#[test]
fn no_status_is_stolen_however_early_a_program_ends() {
    let _turn = turn();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reaper = scope.spawn(|| {
            let mut stolen = Vec::new();
            while !done.load(Ordering::SeqCst) {
                stolen.extend(reap_orphans(|_| false));
            }
            stolen
        });
        let starters: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    for round in 0..60 {
                        let code = (thread * 60 + round) % 256;
                        let (_, exit, _) = run(shell(&format!("exit {code}")));
                        assert_eq!(exit, Exit::Code(code));
                    }
                })
            })
            .collect();
        let results: Vec<_> = starters.into_iter().map(|starter| starter.join()).collect();
        done.store(true, Ordering::SeqCst);
        assert_eq!(reaper.join().unwrap(), []);
        assert!(results.iter().all(Result::is_ok));
    });
}
