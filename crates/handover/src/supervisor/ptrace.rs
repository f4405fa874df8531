//! Whether one process may take descriptors out of another (ptrace(2), pidfd_getfd(2)).

use std::io;

use handover_sys::Pidfd;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

/// What Yama allows (`kernel.yama.ptrace_scope`), as the kernel writes it; `None` without Yama.
pub(super) fn scope() -> Option<String> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?;
    Some(scope.trim().to_owned())
}

/// Whether this process may trace those of other users too.
pub(super) fn is_tracer() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// Whether the call as such is there and allowed: of itself any process may ask.
///
/// # Errors
/// It is missing, or forbidden (seccomp).
pub(super) fn duplicates() -> io::Result<()> {
    match Pidfd::open(std::process::id()).and_then(|own| own.duplicate(0)) {
        Ok(_) => Ok(()),
        // Descriptor 0 is closed.
        Err(error) if error.raw_os_error() == Some(Errno::BADF.raw_os_error()) => Ok(()),
        Err(error) => Err(error),
    }
}
