//! A process: whether two of it fit, and what it is cut off from.

use std::fs;

use super::Finding;
use crate::supervisor::stranger::shares_namespace;

/// Fewer open files are a limit sooner or later: during a handover two versions hold connections,
/// and a service's default is 1,024.
pub(super) const FILES: u64 = 4096;

/// Beyond the second instance's memory there must be this much left, in parts of the whole.
const SPARE: u64 = 20;

pub(super) fn examine(pid: u32) -> Vec<Finding> {
    let Ok(usage) = handover_sys::usage(pid) else {
        let found = format!("process {pid} is not there, or belongs to another user");
        let fix = "give the number of a process that runs, as its user or as root";
        return vec![Finding::bad("process", found, fix)];
    };
    let mut findings = vec![files(pid), memory(pid, usage.rss_bytes)];
    findings.extend(namespaces(pid));
    findings
}

fn files(pid: u32) -> Finding {
    const CHECK: &str = "open files";
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    match soft.map(|soft| (soft, soft.parse::<u64>())) {
        Some((_, Ok(files))) if files < FILES => Finding::note(
            CHECK,
            format!("process {pid} may open {files}"),
            format!("LimitNOFILE={} in its unit, or `ulimit -n`", 16 * FILES),
        ),
        Some((soft, _)) => Finding::ok(CHECK, soft),
        None => Finding::ok(CHECK, "not known"),
    }
}

fn memory(pid: u32, resident: u64) -> Finding {
    const CHECK: &str = "memory for two";
    // With its workers, or the instances of a supervisor.
    let family = handover_sys::process::descendants(pid).unwrap_or_default();
    let theirs = family
        .iter()
        .filter_map(|pid| handover_sys::usage(*pid).ok());
    let needed = resident + theirs.map(|usage| usage.rss_bytes).sum::<u64>();
    let mib = |bytes: u64| bytes >> 20;
    let (room, by) = match available(pid) {
        Some(room) => room,
        None => {
            return Finding::ok(
                CHECK,
                format!("{} MiB used; the rest is not known", mib(needed)),
            );
        }
    };
    let found = format!(
        "a second one needs about {} MiB, {by} leaves {} MiB",
        mib(needed),
        mib(room)
    );
    if needed + needed / SPARE > room {
        let fix = "add memory, raise MemoryMax=, or let the versions share less at a time";
        return Finding::bad(CHECK, found, fix);
    }
    Finding::ok(CHECK, found)
}

/// What is left for one more process beside it, and what limits that.
fn available(pid: u32) -> Option<(u64, &'static str)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    let machine = (kib << 10, "the machine");
    Some(match control_group(pid) {
        Some(left) if left < machine.0 => (left, "MemoryMax="),
        _ => machine,
    })
}

/// What its control group (version 2) leaves.
fn control_group(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let number = |name: &str| -> Option<u64> {
        let file = format!("/sys/fs/cgroup{path}/{name}");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    };
    Some(number("memory.max")?.saturating_sub(number("memory.current")?))
}

fn namespaces(pid: u32) -> Vec<Finding> {
    let kinds = [
        (
            "net",
            "its network is its own: sockets passed to it, or taken from it, belong to another \
                 network",
            "PrivateNetwork=no, or let both versions share it (JoinsNamespaceOf=)",
        ),
        (
            "mnt",
            "it sees other files: paths of programs and sockets may mean something else to it",
            "give paths as the service sees them; PrivateTmp= and ProtectSystem= make this",
        ),
        (
            "pid",
            "it numbers processes otherwise: commands from outside cannot name its processes",
            "run the command inside: `nsenter --target PID --all handover …`, or docker exec",
        ),
    ];
    kinds
        .iter()
        .map(|(kind, found, fix)| {
            let check = format!("{kind} namespace");
            match shares_namespace(pid, kind) {
                Some(false) => Finding::note(&check, *found, *fix),
                Some(true) => Finding::ok(&check, "shared with this shell"),
                None => Finding::note(&check, "cannot be seen", "run this as root"),
            }
        })
        .collect()
}
