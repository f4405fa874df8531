//! Adopted orphans: the duty of PID 1 and of every subreaper.

use std::io;

use rustix::process::{getpid, set_child_subreaper};

use crate::claim;
use crate::pidfd::Exit;
use crate::process::own_children;
use crate::wait::{Taking, Whose, ended};

/// Makes this process the parent of every descendant whose own parent ends, instead of init
/// (`PR_SET_CHILD_SUBREAPER`). Applies to the whole process, is not inherited by children, and
/// lasts until the process ends.
///
/// # Errors
/// Only what a seccomp filter forbids; nothing changed.
pub fn become_subreaper() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Reaps every child that has ended and that nobody else waits for, and returns pid and exit of
/// each. Never blocks for a running child.
///
/// Never steals a status: left alone is every child whose [`Pidfd`](crate::Pidfd) came from
/// [`Spawn`](crate::spawn::Spawn) and is still held, and every pid for which `owned` answers
/// true. `owned` must therefore name the children started by other means
/// (`std::process::Command`, a pidfd of [`Pidfd::open`](crate::Pidfd::open)). It is called while
/// births are held off, so it must not start a process itself.
///
/// Call it after each `SIGCHLD`; several children can share one signal.
pub fn reap_orphans(owned: impl Fn(u32) -> bool) -> Vec<(u32, Exit)> {
    let _gate = claim::reaping();
    let owned = |pid: u32| claim::is_claimed(pid) || owned(pid);
    let mut reaped = Vec::new();
    // Listing first, waiting afterwards: the kernel's list loses its place when children vanish
    // from it during the reading.
    for pid in own_children().unwrap_or_default() {
        if !owned(pid) {
            reaped.extend(take(pid));
        }
    }
    // The list can still miss a child (a thread ended meanwhile, no /proc). The peek shows one
    // ended child at a time; behind an owned one it cannot look, the next SIGCHLD will.
    while let Ok(Some((pid, _))) = ended(&Whose::Any, Taking::Peek) {
        if owned(pid) {
            break;
        }
        match take(pid) {
            Some(found) => reaped.push(found),
            None => break,
        }
    }
    reaped
}

fn take(pid: u32) -> Option<(u32, Exit)> {
    // An error means that it is no child any more: somebody else has its status.
    ended(&Whose::Pid(pid), Taking::Reap).ok().flatten()
}
