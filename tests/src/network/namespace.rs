//! A network namespace, and how it is furnished.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::patience::until;
use crate::service::clean;

/// A network namespace. It is gone, with its interfaces, when this and all processes in it are.
#[derive(Debug)]
pub struct Namespace {
    /// Waits for the end of its standard input, which comes when this process ends, however it
    /// does: so that a killed run leaves nothing.
    holder: Child,
}

impl Namespace {
    /// An empty one; only its loopback is up.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare is there");
        let mut namespace = Self { holder };
        let ours = fs::read_link("/proc/self/ns/net").expect("/proc is mounted");
        until("a network namespace", || {
            let ended = namespace.holder.try_wait().expect("it is our child");
            assert!(ended.is_none(), "unshare --net: {ended:?}");
            fs::read_link(namespace.path()).is_ok_and(|theirs| theirs != ours)
        });
        namespace.ip(["link set lo up"]);
        namespace
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.pid()).into()
    }

    /// A process in it, which is how `ip link` names a namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs in it and does not outlive the thread that starts it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean("setpriv");
        command.args(["--pdeathsig", "KILL", "nsenter"]);
        command.arg(format!("--net={}", self.path().display()));
        command.arg(program);
        command.stdin(Stdio::null());
        command
    }

    /// Does this in it, on a thread of its own; threads that this starts are in it too.
    ///
    /// # Panics
    /// When `work` does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                let namespace = fs::File::open(path).expect("it is there");
                let network = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(namespace.as_fd(), network).expect("root may");
                work()
            });
            entered.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Gives `ip` these commands, one a line.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn ip(&self, commands: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut text = String::new();
        for command in commands {
            text.push_str(command.as_ref());
            text.push('\n');
        }
        let mut ip = self
            .command("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip is there");
        let mut input = ip.stdin.take().expect("it is piped");
        input.write_all(text.as_bytes()).expect("ip reads");
        drop(input);
        let output = ip.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip: {said}of\n{text}");
    }

    /// Gives the packet filter `nft` these commands, all at once.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn filter(&self, nft: &Path, commands: &[&str]) {
        let output = self.command(nft).arg(commands.join("\n")).output();
        let output = output.expect("it is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft: {said}of\n{commands:?}");
    }

    /// Waits until this interface carries datagrams. The kernel tells a device and a bridge of a
    /// new link by and by, and what is sent before is lost.
    ///
    /// # Panics
    /// When it never does.
    pub fn until_up(&self, interface: &str) {
        until(&format!("{interface} is up"), || {
            let mut ip = self.command("ip");
            ip.args(["-json", "-details", "link", "show", "dev", interface]);
            let output = ip.output().expect("ip is there");
            let links: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let link = &links[0];
            let port = &link["linkinfo"]["info_slave_data"]["state"];
            link["operstate"] == "UP"
                && link["qdisc"] != "noop"
                && port.as_str().is_none_or(|state| state == "forwarding")
        });
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
