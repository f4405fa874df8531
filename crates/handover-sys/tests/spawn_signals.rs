//! Signals around a start: the program begins clean, the parent loses none, and no handler of the
//! parent ever runs in a child.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use handover_sys::Exit;
use handover_sys::spawn::Spawn;
use world::{eventually, run, turn};

static HANDLED: AtomicU32 = AtomicU32::new(0);
static ELSEWHERE: AtomicBool = AtomicBool::new(false);
static PARENT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    // SAFETY: no arguments. Memory is shared with a child before it executes, so if the handler
    // ever ran there, this would be seen here.
    let pid = unsafe { libc::syscall(libc::SYS_getpid) } as u32;
    if pid != PARENT.load(Ordering::SeqCst) {
        ELSEWHERE.store(true, Ordering::SeqCst);
    }
    HANDLED.fetch_add(1, Ordering::SeqCst);
}

fn handle(number: i32, handler: libc::sighandler_t) {
    // SAFETY: a zeroed action with a valid handler (or SIG_IGN) is valid; the old one is not read.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(number, &action, std::ptr::null_mut()), 0);
    }
}

fn mask(how: i32, number: i32) -> Vec<bool> {
    // SAFETY: both sets are live and initialised by the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        let mut old: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, number);
        assert_eq!(libc::pthread_sigmask(how, &set, &mut old), 0);
        (1..32)
            .map(|number| libc::sigismember(&old, number) == 1)
            .collect()
    }
}

fn status_line<'a>(status: &'a str, name: &str) -> &'a str {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap()
        .trim()
}

#[test]
fn the_program_begins_with_default_signals_and_an_empty_mask() {
    let _turn = turn();
    handle(libc::SIGHUP, libc::SIG_IGN);
    handle(libc::SIGPIPE, libc::SIG_IGN);
    handle(
        libc::SIGUSR2,
        count as extern "C" fn(i32) as libc::sighandler_t,
    );
    mask(libc::SIG_BLOCK, libc::SIGWINCH);
    let before = mask(libc::SIG_BLOCK, libc::SIGWINCH);

    let (_, exit, status) = run(Spawn::path("/bin/cat").args(["/proc/self/status"]));
    assert_eq!(exit, Exit::Code(0));
    for line in ["SigBlk:", "SigIgn:", "SigCgt:", "SigPnd:", "ShdPnd:"] {
        assert_eq!(status_line(&status, line), "0000000000000000", "{line}");
    }
    assert_eq!(
        mask(libc::SIG_BLOCK, libc::SIGWINCH),
        before,
        "the parent's mask is as it was"
    );
    assert!(before[libc::SIGWINCH as usize - 1]);
    mask(libc::SIG_UNBLOCK, libc::SIGWINCH);
    handle(libc::SIGHUP, libc::SIG_DFL);
}

#[test]
fn signals_during_starts_are_handled_by_the_parent_alone() {
    let _turn = turn();
    PARENT.store(std::process::id(), Ordering::SeqCst);
    handle(
        libc::SIGUSR1,
        count as extern "C" fn(i32) as libc::sighandler_t,
    );
    let stop = Arc::new(AtomicBool::new(false));
    // SAFETY: no arguments.
    let starter = unsafe { libc::syscall(libc::SYS_gettid) };
    let sender = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut sent = 0;
            while !stop.load(Ordering::SeqCst) {
                // To the very thread that starts programs, and to the process as a whole.
                // SAFETY: plain numbers.
                unsafe {
                    let own = libc::getpid();
                    libc::syscall(libc::SYS_tgkill, own, starter, libc::SIGUSR1);
                    libc::kill(own, libc::SIGUSR1);
                }
                sent += 1;
                std::thread::yield_now();
            }
            sent
        }
    });
    for _ in 0..300 {
        let child = Spawn::path("/bin/true").process_group().spawn().unwrap();
        // A handler's signal that reached the child would have killed it: the action is default.
        assert_eq!(child.pidfd.wait(None).unwrap(), Some(Exit::Code(0)));
        Spawn::path("/no/such/program").spawn().unwrap_err();
    }
    eventually("signals were handled", || {
        HANDLED.load(Ordering::SeqCst) > 100
    });
    stop.store(true, Ordering::SeqCst);
    assert!(sender.join().unwrap() > 0);
    assert!(
        !ELSEWHERE.load(Ordering::SeqCst),
        "a handler ran in a child"
    );
}

/// A signal that is pending while blocked stays the parent's.
#[test]
fn a_pending_signal_is_not_inherited_and_not_lost() {
    let _turn = turn();
    PARENT.store(std::process::id(), Ordering::SeqCst);
    handle(
        libc::SIGURG,
        count as extern "C" fn(i32) as libc::sighandler_t,
    );
    mask(libc::SIG_BLOCK, libc::SIGURG);
    let before = HANDLED.load(Ordering::SeqCst);
    // SAFETY: plain numbers.
    unsafe {
        let own = libc::getpid();
        libc::syscall(
            libc::SYS_tgkill,
            own,
            libc::syscall(libc::SYS_gettid),
            libc::SIGURG,
        );
    }
    let (_, exit, status) = run(Spawn::path("/bin/cat").args(["/proc/self/status"]));
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(status_line(&status, "SigPnd:"), "0000000000000000");
    assert_eq!(HANDLED.load(Ordering::SeqCst), before, "still blocked");
    mask(libc::SIG_UNBLOCK, libc::SIGURG);
    assert_eq!(
        HANDLED.load(Ordering::SeqCst),
        before + 1,
        "delivered once unblocked"
    );
}
