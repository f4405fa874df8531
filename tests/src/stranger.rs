//! A server that somebody started plainly, without a supervisor and with no thought of one.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use handover_sys::{descriptors, diag};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::patience::eventually;
use crate::service::clean;

/// The running server, in a process group and a directory of its own; both are gone at the end.
#[derive(Debug)]
pub struct Stranger {
    child: Child,
    /// Where it was started, and what it may write to.
    pub directory: TempDir,
}

impl Stranger {
    /// Starts a server by its command line and waits until it listens; `{dir}` in a word is its
    /// directory, which `prepare` fills before.
    ///
    /// # Panics
    /// When it cannot be started or ends instead.
    #[must_use]
    pub fn start(words: &[&str], prepare: impl FnOnce(&TempDir)) -> Self {
        let stranger = Self::launch(words, prepare);
        let pid = stranger.pid();
        eventually("the server listens", || {
            let below = diag::descendants(pid).unwrap_or_default();
            let mut all = std::iter::once(pid).chain(below);
            all.any(|pid| !listening(pid).is_empty()).then_some(())
        });
        stranger
    }

    /// The same, and waits for nothing.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn launch(words: &[&str], prepare: impl FnOnce(&TempDir)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        prepare(&directory);
        let dir = directory.path().display().to_string();
        let words: Vec<String> = words.iter().map(|w| w.replace("{dir}", &dir)).collect();
        let mut command: Command = clean(&words[0]);
        command
            .args(&words[1..])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let child = command.spawn().expect("the server starts");
        Self { child, directory }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A path in its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where it listens, by what the kernel says.
    ///
    /// # Panics
    /// When it listens on no TCP socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let all = listening(self.pid());
        *all.first().expect("a TCP listener")
    }

    /// Whether it runs; reaps it if not.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// A port that nothing listens on, for servers that cannot choose one themselves.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("bound").port()
}

fn listening(pid: u32) -> Vec<SocketAddr> {
    let held = descriptors::sockets(pid).unwrap_or_default();
    let holds = |inode| held.iter().any(|held| held.inode == inode);
    let all = diag::tcp_listeners().expect("lists");
    all.into_iter()
        .filter(|socket| holds(socket.inode))
        .map(|socket| socket.local)
        .collect()
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Its workers too: the group is its own.
        if let Some(group) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
