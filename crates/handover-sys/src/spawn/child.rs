//! The child's side, from `clone` to `execve`.
//!
//! The child runs in the memory of its parent, on a stack of its own, while the thread that made
//! it stands still; other threads run on. So nothing here may allocate, take a lock, unwind, or
//! write to memory that is not in [`Orders`]: only system calls on prepared data.

use libc::{c_char, c_int, c_void};

use crate::signal::Signal;

/// The size of the kernel's signal set in bytes (`sizeof(sigset_t)` there, not in the C library).
pub(super) const KERNEL_SIGSET: usize = Signal::HIGHEST as usize / 8;

/// `CLOSE_RANGE_CLOEXEC` of `linux/close_range.h`: mark instead of close. Linux 5.11.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;

/// Exit code of a child that could not execute; nobody sees it, the parent reaps the child.
const NOT_EXECUTED: c_int = 127;

/// What to execute.
#[derive(Clone, Copy)]
pub(super) enum Program {
    /// A path, closed by NUL.
    Path(*const c_char),
    /// A descriptor of the file itself.
    Descriptor(c_int),
}

/// One descriptor of the parent and the number it gets in the child.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    pub(super) source: c_int,
    pub(super) target: c_int,
}

/// How far the child came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Stage {
    ProcessGroup,
    Descriptor,
    Directory,
    Exec,
}

/// Everything the child needs, and the place where it leaves its failure.
pub(super) struct Orders {
    pub(super) program: Program,
    /// Pointers closed by a null pointer.
    pub(super) arguments: *const *const c_char,
    pub(super) environment: *const *const c_char,
    /// Null: stay where the parent is.
    pub(super) directory: *const c_char,
    pub(super) map: *mut Mapping,
    pub(super) map_length: usize,
    /// The first number above every target.
    pub(super) first_free: c_int,
    /// [`PID_DIGITS`] zeroes and one more, behind `LISTEN_PID=`; or null.
    pub(super) listen_pid: *mut u8,
    pub(super) process_group: bool,
    /// Set by the child: the stage that failed, and `errno`.
    pub(super) failure: Option<(Stage, c_int)>,
}

/// Digits of the largest pid: the kernel allows 2^22 (`PID_MAX_LIMIT`), this fits any `u32`.
pub(super) const PID_DIGITS: usize = 10;

/// The entry point of the child.
pub(super) extern "C" fn run(orders: *mut c_void) -> c_int {
    let orders: *mut Orders = orders.cast();
    // SAFETY: the parent passes a pointer to a live `Orders` whose pointers are all valid, and
    // does not run until this function has executed or exited.
    unsafe {
        let failure = execute(&mut *orders);
        (*orders).failure = Some(failure);
        // Not `exit`: that would run the parent's exit handlers and flush its buffers.
        libc::_exit(NOT_EXECUTED)
    }
}

/// Returns only on failure.
///
/// # Safety
/// In the child only, with the pointers of `orders` valid.
unsafe fn execute(orders: &mut Orders) -> (Stage, c_int) {
    reset_signals();
    // SAFETY: setpgid takes plain numbers.
    if orders.process_group && unsafe { libc::setpgid(0, 0) } != 0 {
        return (Stage::ProcessGroup, errno());
    }
    // SAFETY: `map` and `map_length` describe the parent's array, which nobody else uses now.
    let map = unsafe { std::slice::from_raw_parts_mut(orders.map, orders.map_length) };
    if let Err(errno) = arrange(map, &mut orders.program, orders.first_free) {
        return (Stage::Descriptor, errno);
    }
    // SAFETY: `directory` is null or a string closed by NUL.
    if !orders.directory.is_null() && unsafe { libc::chdir(orders.directory) } != 0 {
        return (Stage::Directory, errno());
    }
    if !orders.listen_pid.is_null() {
        // SAFETY: the parent reserved the room described at the field.
        unsafe { write_pid(orders.listen_pid) };
    }
    // Last before the program: until here no handler of the parent, none at all by now, and no
    // default action could interrupt.
    set_mask(0);
    // SAFETY: strings and arrays are closed by NUL and null, as the parent prepared them.
    unsafe {
        match orders.program {
            Program::Path(path) => {
                libc::execve(path, orders.arguments, orders.environment);
            }
            Program::Descriptor(fd) => {
                libc::syscall(
                    libc::SYS_execveat,
                    fd,
                    c"".as_ptr(),
                    orders.arguments,
                    orders.environment,
                    libc::AT_EMPTY_PATH,
                );
            }
        }
    }
    (Stage::Exec, errno())
}

/// Every signal back to its default: a handler would run the parent's code in the parent's
/// memory, and an ignored signal (Rust ignores SIGPIPE) would stay ignored in the program.
fn reset_signals() {
    // The kernel's `sigaction` differs between architectures in order and length, but all zeroes
    // means "default action, no flags, empty mask" in each, and none is longer than this.
    let default = [0u64; 8];
    for number in 1..=Signal::HIGHEST {
        // Directly, because the C library refuses its internal signals. Fails for SIGKILL and
        // SIGSTOP, which cannot be changed and need not be.
        // SAFETY: the pointer is to memory at least as long as the kernel reads; the old action
        // is not asked for.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null::<u64>(),
                KERNEL_SIGSET,
            );
        }
    }
}

/// Sets the signal mask of the calling thread and returns the old one. Directly, because the C
/// library never blocks its internal signals.
pub(super) fn set_mask(mask: u64) -> u64 {
    let mut old = 0u64;
    // SAFETY: both pointers are to 8 bytes, as the last argument says.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut old,
            KERNEL_SIGSET,
        );
    }
    old
}

/// Puts each source at its target and marks everything above close-on-exec.
fn arrange(map: &mut [Mapping], program: &mut Program, first_free: c_int) -> Result<(), c_int> {
    // First everything out of the range of targets, so that no `dup3` hits a source still needed.
    for mapping in map.iter_mut() {
        mapping.source = lift(mapping.source, first_free)?;
    }
    if let Program::Descriptor(fd) = program {
        *fd = lift(*fd, first_free)?;
    }
    for mapping in map.iter() {
        // SAFETY: plain numbers. Without a flag the copy survives `execve`; source and target
        // differ, because every source is above every target now.
        while unsafe { libc::dup3(mapping.source, mapping.target, 0) } < 0 {
            match errno() {
                libc::EINTR | libc::EBUSY => {}
                other => return Err(other),
            }
        }
    }
    // What Rust opens is close-on-exec already; this is for what C libraries opened. Kernels
    // before 5.11 and old container filters do not allow it; then those descriptors stay.
    // SAFETY: plain numbers.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first_free as libc::c_uint,
            libc::c_uint::MAX,
            CLOSE_RANGE_CLOEXEC,
        );
    }
    Ok(())
}

/// A copy at `first_free` or above of a descriptor below it.
fn lift(fd: c_int, first_free: c_int) -> Result<c_int, c_int> {
    if fd >= first_free {
        return Ok(fd);
    }
    // SAFETY: plain numbers.
    match unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, first_free) } {
        copy if copy >= 0 => Ok(copy),
        _ => Err(errno()),
    }
}

/// Writes our pid in decimal; the zeroes behind it close the string.
///
/// # Safety
/// `slot` must hold [`PID_DIGITS`] zeroes and one more.
unsafe fn write_pid(slot: *mut u8) {
    // The kernel's answer, not one the C library could remember from the parent.
    // SAFETY: no arguments.
    let mut rest = unsafe { libc::syscall(libc::SYS_getpid) } as u32;
    let mut digits = 1;
    let mut bound = rest / 10;
    while bound > 0 {
        digits += 1;
        bound /= 10;
    }
    // SAFETY: a u32 has at most 10 digits, so every write is inside the slot.
    unsafe {
        while digits > 0 {
            digits -= 1;
            slot.add(digits).write(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
    }
}

fn errno() -> c_int {
    // SAFETY: the C library gives a valid pointer; the thread that owns this `errno` stands still.
    unsafe { *libc::__errno_location() }
}
