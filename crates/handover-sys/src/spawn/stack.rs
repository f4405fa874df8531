//! A stack for the child and the call that starts it there.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{c_int, c_void};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use super::child::{self, Orders};

/// The child calls a few functions deep and keeps nothing large; the C library's posix_spawn
/// reserves 32 KiB. Only the pages touched cost memory.
const STACK: usize = 64 * 1024;

/// A page that faults instead of letting a stack overflow reach the parent's memory. As large as
/// the largest page of the architectures Linux runs on.
const GUARD: usize = 64 * 1024;

/// Memory for one child's stack, with a guard below it.
struct Stack {
    base: *mut c_void,
}

impl Stack {
    fn new() -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::STACK | MapFlags::NORESERVE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place the kernel chooses touches no memory in use.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), GUARD + STACK, access, flags)? };
        let stack = Self { base };
        // SAFETY: the range is the lower part of the mapping just made, which nobody uses yet.
        unsafe { mprotect(base, GUARD, MprotectFlags::empty())? };
        Ok(stack)
    }

    /// The end of the mapping: stacks grow down on every architecture Linux calls `clone` with a
    /// plain pointer on. Page-aligned, so aligned for any ABI.
    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(GUARD + STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the child that used it has executed or exited.
        let _ = unsafe { munmap(self.base, GUARD + STACK) };
    }
}

/// All signals blocked in this thread until dropped. The child starts with this mask, so that no
/// handler of the parent can run in it.
struct Quiet {
    before: u64,
}

impl Quiet {
    fn new() -> Self {
        Self {
            before: child::set_mask(u64::MAX),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        child::set_mask(self.before);
    }
}

/// Starts a child that follows `orders` and returns its pid and pidfd when it has executed its
/// program or exited; `sibling`: our parent's child instead of ours. The pidfd is close-on-exec.
///
/// # Safety
/// Every pointer in `orders` must be valid for what [`Orders`] says about it.
pub(super) unsafe fn start(orders: &mut Orders, sibling: bool) -> io::Result<(u32, OwnedFd)> {
    let stack = Stack::new()?;
    let parent = if sibling { libc::CLONE_PARENT } else { 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | parent;
    let mut pidfd: RawFd = -1;
    let quiet = Quiet::new();
    // SAFETY: `run` gets the pointer it expects; its stack is a fresh mapping; CLONE_VFORK holds
    // this thread until the child no longer uses our memory (CLONE_VM), so `orders` and `stack`
    // outlive it; CLONE_PIDFD takes the pointer to `pidfd` as the argument that would be the
    // parent's tid. No copy of the parent's memory is made, whatever its size.
    let result = unsafe {
        libc::clone(
            child::run,
            stack.top(),
            flags,
            ptr::from_mut(orders).cast(),
            &raw mut pidfd as *mut c_int,
        )
    };
    let failure = io::Error::last_os_error();
    drop(quiet);
    drop(stack);
    let Ok(pid) = u32::try_from(result) else {
        return Err(failure);
    };
    // SAFETY: the kernel made this descriptor for us in the successful call above.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}
