//! A directory, processes in it, and what is asked of them.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use handover_sys::spawn::Spawn;
use handover_sys::{Exit, Pidfd, Signal};
use tempfile::TempDir;

/// Far longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Both drivers.
pub(crate) const DRIVERS: [&str; 2] = ["tokio", "blocking"];

/// What the processes of a test have in common.
pub(crate) struct World {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// A process, and whatever it and the successors it starts say. Killed when dropped.
pub(crate) struct Actor {
    pub(crate) process: Pidfd,
    lines: mpsc::Receiver<String>,
}

impl World {
    pub(crate) fn new(driver: &str) -> Self {
        let mut world = Self {
            directory: tempfile::tempdir().expect("a directory"),
            variables: Vec::new(),
        };
        world.set("ACTOR", driver);
        let version = world.path("version").display().to_string();
        world.set("ACTOR_VERSION", &version);
        let runtime = world.path("run").display().to_string();
        world.set("HANDOVER_RUNTIME_DIR", &runtime);
        world.version("1");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The takeover socket, where nobody chose another.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/web/takeover.sock")
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// What is started from here on.
    pub(crate) fn version(&self, text: &str) {
        std::fs::write(self.path("version.new"), text).expect("writes");
        std::fs::rename(self.path("version.new"), self.path("version")).expect("renames");
    }

    /// Whoever waits goes on.
    pub(crate) fn go(&self) {
        std::fs::write(self.path("version.go"), "").expect("writes");
    }

    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let ours = self.variables.iter();
        std::env::vars_os()
            .filter(|(name, _)| name != "NOTIFY_SOCKET")
            .chain(ours.map(|(name, value)| (name.into(), value.into())))
            .collect()
    }

    pub(crate) fn start(&self) -> Actor {
        let (read, write) = std::io::pipe().expect("a pipe");
        let spawn = Spawn::path(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "actor::role", "--nocapture"])
            .env(self.environment())
            .stdout(write.as_fd());
        let child = spawn.spawn().expect("starts");
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(read).lines().map_while(Result::ok) {
                if let Some((_, line)) = line.split_once('>') {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Actor {
            process: child.pidfd,
            lines,
        }
    }

    /// Starts one that serves, and says where.
    pub(crate) fn serving(&self) -> (Actor, String) {
        let actor = self.start();
        let address = actor.says("at ");
        actor.says("ready");
        (actor, address)
    }
}

impl Actor {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The next line that begins so behind the process id, of whatever process; the rest of it.
    #[track_caller]
    pub(crate) fn says(&self, begin: &str) -> String {
        self.next(begin).1
    }

    /// The same, and which process said it.
    #[track_caller]
    pub(crate) fn next(&self, begin: &str) -> (u32, String) {
        let until = Instant::now() + DEADLINE;
        let mut heard = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{begin:?} was not said, but {heard:?}");
            };
            let (pid, text) = line.split_once(' ').expect("a process id and words");
            if let Some(rest) = text.strip_prefix(begin) {
                return (pid.parse().expect("a number"), rest.trim().to_owned());
            }
            heard.push(line);
        }
    }

    /// Everything it has said and nobody has heard, once it has ended.
    pub(crate) fn all(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).expect("it lives");
    }

    #[track_caller]
    pub(crate) fn ends(&self) -> Exit {
        let exit = self
            .process
            .wait(Some(DEADLINE))
            .expect("it can be awaited");
        exit.expect("it ends")
    }

    pub(crate) fn lives(&self) -> bool {
        self.process
            .try_wait()
            .expect("it can be looked at")
            .is_none()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.signal(Signal::KILL);
        let _ = self.process.wait(Some(DEADLINE));
    }
}

/// Kills a process that an actor started, at the end of a test.
pub(crate) struct Orphan(pub Pidfd);

impl Orphan {
    pub(crate) fn of(pid: u32) -> Self {
        Self(Pidfd::open(pid).expect("it lives"))
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ = self.0.signal(Signal::KILL);
        let _ = self.0.wait(Some(DEADLINE));
    }
}

/// Who answers: version and process id.
#[track_caller]
pub(crate) fn ask(address: &str) -> (String, u32) {
    let mut stream = TcpStream::connect(address).expect("the listener is open");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (version, pid) = text.split_once(' ').expect("version and process id");
    (version.to_owned(), pid.parse().expect("a number"))
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn descriptors(pid: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
    entries.count()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
