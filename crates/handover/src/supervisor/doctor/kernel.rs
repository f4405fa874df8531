//! What this kernel, and whoever restricts it, lets us do.

use handover_sys::Pidfd;
use handover_sys::memfd::Memfd;

use super::Finding;
use crate::supervisor::ptrace;

/// Below it a burst of connections is dropped while an instance starts: what we ask listen(2) for.
const BACKLOG: u64 = 4096;

pub(super) fn examine() -> Vec<Finding> {
    vec![pidfd(), duplicates(), memory(), tracing(), queue(), room()]
}

fn pidfd() -> Finding {
    match Pidfd::open(std::process::id()) {
        Ok(_) => Finding::ok("pidfd_open", "there"),
        Err(error) => Finding::bad(
            "pidfd_open",
            error.to_string(),
            "Linux 5.3 or later is needed, and a system call filter that allows it",
        ),
    }
}

fn duplicates() -> Finding {
    const CHECK: &str = "pidfd_getfd";
    match ptrace::duplicates() {
        Ok(()) => Finding::ok(CHECK, "there"),
        Err(error) => Finding::note(
            CHECK,
            error.to_string(),
            "Linux 5.6 or later, or a system call filter that allows it; without it `adopt` does \
             not work, and listeners outlive a supervisor by the keeper only (keeper = \"auto\")",
        ),
    }
}

fn memory() -> Finding {
    match Memfd::create("doctor", 1) {
        Ok(_) => Finding::ok("memfd_create", "there"),
        Err(error) => Finding::bad(
            "memfd_create",
            error.to_string(),
            "Linux 3.17 or later, or a system call filter that allows it: state crosses in it",
        ),
    }
}

fn tracing() -> Finding {
    const CHECK: &str = "ptrace scope";
    let Some(scope) = ptrace::scope() else {
        return Finding::ok(CHECK, "no Yama module");
    };
    let able = ptrace::is_tracer();
    match &*scope {
        "0" => Finding::ok(CHECK, "0"),
        "1" | "2" if able => Finding::ok(CHECK, format!("{scope}, with CAP_SYS_PTRACE")),
        _ => Finding::note(
            CHECK,
            format!("{scope}, which keeps processes from each other"),
            "nothing for `run`, which starts a keeper; `adopt` needs root, CAP_SYS_PTRACE, or \
             `sysctl kernel.yama.ptrace_scope=0`",
        ),
    }
}

fn queue() -> Finding {
    const CHECK: &str = "net.core.somaxconn";
    let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let limit: Option<u64> = limit.ok().and_then(|text| text.trim().parse().ok());
    match limit {
        Some(limit) if limit < BACKLOG => Finding::note(
            CHECK,
            format!("{limit}: more connections than that cannot wait while nobody accepts"),
            format!("sysctl -w net.core.somaxconn={BACKLOG}, and in /etc/sysctl.d"),
        ),
        Some(limit) => Finding::ok(CHECK, limit.to_string()),
        None => Finding::ok(CHECK, "not known"),
    }
}

/// Files this very shell may open: what a supervisor started from it would have.
fn room() -> Finding {
    const CHECK: &str = "open files, here";
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.current {
        Some(files) if files < super::process::FILES => Finding::note(
            CHECK,
            format!("{files} for a process started from here"),
            format!(
                "`ulimit -n {}`, or LimitNOFILE= of a unit",
                super::process::FILES
            ),
        ),
        Some(files) => Finding::ok(CHECK, files.to_string()),
        None => Finding::ok(CHECK, "unlimited"),
    }
}
