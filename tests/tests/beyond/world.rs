//! A data directory, a control socket, and daemons of both libraries for them.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use handover_tests::patience::until;
use handover_tests::{Builder, Program, Service, http};
use tempfile::TempDir;

use crate::DAEMON;

/// Which library a daemon is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    Theirs,
    Ours,
}

pub(crate) const BOTH: [Library; 2] = [Library::Theirs, Library::Ours];

/// A directory that daemons own one after the other.
#[derive(Debug)]
pub(crate) struct World {
    directory: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("data")).expect("a directory");
        Self { directory }
    }

    /// One whose daemons take turns by the lock of beyond-handoff.
    pub(crate) fn of_theirs() -> Self {
        let world = Self::new();
        File::create(world.data().join(".handoff.lock")).expect("a file");
        world
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("handoff.sock")
    }

    /// Arguments of a daemon.
    pub(crate) fn arguments(&self, library: Library, version: &str, more: &str) -> String {
        let library = match library {
            Library::Theirs => "theirs",
            Library::Ours => "ours",
        };
        format!(
            "--library {library} --version {version} --data {} --socket {} {more}",
            self.data().display(),
            self.socket().display()
        )
    }

    /// A daemon as a file.
    pub(crate) fn program(&self, library: Library, version: &str, more: &str) -> Program {
        Program::new(DAEMON, &self.arguments(library, version, more))
    }

    /// Our supervisor over this daemon.
    pub(crate) fn supervise(&self, program: &Program, flags: &[&str]) -> Service {
        let socket = self.socket().display().to_string();
        Builder::new(program.path())
            .flags(["--exclusive", "--wire", "beyond-handoff"])
            .flags(["--handoff-socket", &socket])
            .flags(flags.iter().copied())
            .start()
    }

    /// The next seal fails, once.
    pub(crate) fn fail_next_seal(&self) {
        fs::write(self.data().join("seal.fail"), "").expect("written");
    }

    fn lines(&self, name: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.data().join(name)).unwrap_or_default();
        // The last line may be half written.
        let text = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let words = |line: &str| line.split(' ').map(str::to_owned).collect();
        text.lines().map(words).collect()
    }

    /// Hooks of this version so far, in order.
    pub(crate) fn hooks(&self, version: &str) -> Vec<String> {
        let lines = self.lines("hooks").into_iter();
        lines
            .filter(|line| line[0] == version)
            .map(|line| line[2].clone())
            .collect()
    }

    /// Versions in the order they wrote.
    pub(crate) fn writers(&self) -> Vec<String> {
        let mut versions: Vec<_> = self
            .lines("log")
            .into_iter()
            .map(|line| line[0].clone())
            .collect();
        versions.dedup();
        versions
    }

    pub(crate) fn written(&self) -> usize {
        self.lines("log").len()
    }

    /// Whether somebody holds the lock of beyond-handoff.
    pub(crate) fn is_locked(&self) -> bool {
        let lock = File::open(self.data().join(".handoff.lock")).expect("the lock file");
        lock.try_lock().is_err()
    }

    /// A connection to the control socket, as a supervisor of theirs makes it.
    pub(crate) fn connect(&self) -> UnixStream {
        let path = self.socket();
        let mut found = None;
        until("the control socket is there", || {
            found = UnixStream::connect(&path).ok();
            found.is_some()
        });
        found.expect("connected")
    }
}

/// What answers at an address.
pub(crate) fn who(address: SocketAddr) -> String {
    http::get(address, "/who").expect("an answer").1
}

/// Somebody who writes without pause, each time on a connection of its own, and counts.
pub(crate) struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Writer {
    pub(crate) fn begin(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut acknowledged, mut refused) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                match http::get(address, "/write") {
                    Ok((200, _)) => acknowledged += 1,
                    other => refused.push(format!("{other:?}")),
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            (acknowledged, refused)
        });
        Self { stop, thread }
    }

    /// Nothing was refused, and all that was acknowledged is there.
    pub(crate) fn end(self, world: &World, before: usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (acknowledged, refused) = self.thread.join().expect("the writer ends");
        assert!(acknowledged > 0);
        assert_eq!(refused, Vec::<String>::new());
        assert_eq!(world.written() - before, acknowledged);
    }
}
