//! A real systemd as process 1, in namespaces and on a root of its own.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::patience::{eventually, until};
use crate::{peer, process};

const BOOT: &str = include_str!("booted/boot.sh");
const SYSTEMD: &str = "/lib/systemd/systemd";

/// A booted systemd; it ends, with everything in it, when this is dropped.
#[derive(Debug)]
pub struct Booted {
    /// `unshare`, whose end ends the namespaces.
    outer: Child,
    /// systemd, as this process sees it.
    pid: u32,
    group: PathBuf,
    directory: TempDir,
}

impl Booted {
    /// Boots with the units in `units`. `shared` are directories that it sees where they are.
    ///
    /// `None`, with the reason printed, where it cannot be: without root, without systemd, or where no
    /// cgroup v2 can be written to, as in most containers. That is so with `CI` set too, since it is the
    /// machine's and no package mends it.
    ///
    /// # Panics
    /// When it should run and does not.
    #[must_use]
    pub fn with(units: &Path, shared: &[&Path]) -> Option<Self> {
        if !peer::root() {
            return None;
        }
        if !Path::new(SYSTEMD).is_file() {
            peer::skip(&format!("{SYSTEMD} is missing"));
            return None;
        }
        let Some(group) = new_group() else {
            eprintln!("skipped: no cgroup v2 that can be written to, which systemd needs");
            return None;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("root");
        let boot = directory.path().join("boot.sh");
        fs::create_dir(&root).expect("created");
        fs::write(&boot, BOOT).expect("written");
        let log = directory.path().join("said");
        let said = fs::File::create(&log).expect("created");
        // The namespace of groups begins where its first process is, so it goes there first.
        let enter = r#"echo $$ > "$1/cgroup.procs" && shift && exec "$@""#;
        let outer = Command::new("sh")
            .args(["-c", enter, "enter"])
            .arg(&group)
            .args([
                "unshare",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--ipc",
            ])
            .args(["--uts", "--cgroup", "sh"])
            .args([&boot, &root])
            .arg(units)
            .arg(&log)
            .args(shared)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("cloned"))
            .stderr(said)
            .spawn()
            .expect("sh is there");
        let mut booted = Self {
            pid: 0,
            outer,
            group,
            directory,
        };
        booted.pid = eventually("a process in the new namespaces", || booted.first());
        until("systemd runs", || {
            let ended = booted.outer.try_wait().expect("waited");
            assert!(ended.is_none(), "{ended:?}: {}", booted.said());
            booted.systemctl(&["is-system-running"]).status.success()
        });
        Some(booted)
    }

    fn first(&self) -> Option<u32> {
        let id = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// What it logged.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(self.directory.path().join("said")).unwrap_or_default()
    }

    /// Runs `systemctl` inside.
    ///
    /// # Panics
    /// When it cannot be run.
    #[must_use]
    pub fn systemctl(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid.to_string(), "--all"]);
        command.arg("systemctl").args(words);
        command.output().expect("nsenter runs")
    }

    /// Runs `systemctl`, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn order(&self, words: &[&str]) {
        let output = self.systemctl(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = output.status;
        assert!(
            status.success(),
            "systemctl {words:?}: {status}, signal {:?}\n{said}\n{}",
            status.signal(),
            self.said()
        );
    }

    /// A property of a unit.
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let output = self.systemctl(&["show", "--value", "-p", name, unit]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        until("its processes have ended", || !process::is_alive(self.pid));
        remove_groups(&self.group);
    }
}

/// A group of its own for one boot, below the root of cgroup v2.
fn new_group() -> Option<PathBuf> {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, at, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(at))
    })?;
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let group = mount.join(format!("handover-test-{}-{number}", std::process::id()));
    fs::create_dir(&group).ok()?;
    Some(group)
}

/// Removes a group and those below it; they are empty.
fn remove_groups(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
