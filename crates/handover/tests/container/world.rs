//! A directory, networks, processes in them, and what is asked of them.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far longer than anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What the processes of a test have in common.
pub(crate) struct World {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            variables: Vec::new(),
        }
    }

    /// Whose processes share a volume, and speak to nobody else.
    pub(crate) fn with_volume() -> Self {
        let mut world = Self::new();
        let volume = world.path("volume");
        std::fs::create_dir(&volume).expect("a directory");
        world.set("ACTOR_VOLUME", volume.display());
        world.set("ACTOR_LEGACY", "off");
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl std::fmt::Display) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.to_string()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    /// A secret in a file of this name.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, format!("a secret of sufficient length {name}\n")).expect("writes");
        path
    }

    /// Starts a process; whatever it writes is `name`'s handover-complete file.
    pub(crate) fn start(&self, name: &str) -> Actor {
        self.start_in(None, name)
    }

    pub(crate) fn start_in(&self, namespace: Option<&Namespace>, name: &str) -> Actor {
        let program = std::env::current_exe().expect("this program");
        let mut command = match namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = namespace.command("nsenter");
                command.arg("--").arg(program);
                command
            }
        };
        let clean = [
            "BALENA_SERVICE_NAME",
            "HANDOVER_NETWORK_MODE",
            "NETWORK_INTERFACE",
            "BALENA_SERVICE_HANDOVER_COMPLETE_PATH",
            "RESIN_SERVICE_KILL_ME_PATH",
        ];
        for name in clean {
            command.env_remove(name);
        }
        let mut child = command
            .args(["--ignored", "--exact", "actor::role", "--nocapture"])
            .env("BALENA_SERVICE_HANDOVER_COMPLETE_PATH", self.path(name))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let read = child.stdout.take().expect("a pipe");
        let (tell, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(read).lines().map_while(Result::ok) {
                // The first one follows what the test harness says.
                if let Some((_, line)) = line.split_once('>') {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Actor {
            name: name.to_owned(),
            words: child.stdin.take(),
            child,
            lines,
            heard: RefCell::default(),
        }
    }

    /// One that has begun and serves.
    pub(crate) fn serving(&self, name: &str) -> Actor {
        self.serving_in(None, name)
    }

    pub(crate) fn serving_in(&self, namespace: Option<&Namespace>, name: &str) -> Actor {
        let mut actor = self.start_in(namespace, name);
        actor.says("began ");
        actor.tell("announce");
        actor.says("announced");
        actor
    }

    pub(crate) fn is_complete(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

/// A process. Killed when dropped.
pub(crate) struct Actor {
    name: String,
    child: Child,
    words: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    heard: RefCell<Vec<Line>>,
}

struct Line {
    text: String,
    asked: bool,
}

impl Line {
    fn is(&self, begin: &str) -> bool {
        self.text.starts_with(begin)
    }
}

impl Actor {
    /// The first line that begins so and was not asked for before; the rest of it. What several
    /// tasks say comes in no order.
    #[track_caller]
    pub(crate) fn says(&self, begin: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            {
                let mut heard = self.heard.borrow_mut();
                let found = heard.iter_mut().find(|line| !line.asked && line.is(begin));
                if let Some(line) = found {
                    line.asked = true;
                    return line.text[begin.len()..].trim().to_owned();
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let Ok(text) = self.lines.recv_timeout(left) else {
                let heard: Vec<_> = self
                    .heard
                    .take()
                    .into_iter()
                    .map(|line| line.text)
                    .collect();
                panic!("{} did not say {begin:?}, but {heard:#?}", self.name);
            };
            self.heard.borrow_mut().push(Line { text, asked: false });
        }
    }

    /// How often it has said so by now.
    pub(crate) fn times(&self, begin: &str) -> usize {
        let mut heard = self.heard.borrow_mut();
        let new = self.lines.try_iter();
        heard.extend(new.map(|text| Line { text, asked: false }));
        heard.iter().filter(|line| line.is(begin)).count()
    }

    /// Whether it has said so by now.
    pub(crate) fn has_said(&self, begin: &str) -> bool {
        self.times(begin) > 0
    }

    pub(crate) fn tell(&mut self, word: &str) {
        let words = self.words.as_mut().expect("it listens");
        writeln!(words, "{word}").expect("it lives");
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it ends");
    }

    /// Stopped or going on, as `SIGSTOP` and `SIGCONT` do.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it lives");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether networks can be made; the reason is printed when not, and the test is to return.
pub(crate) fn can_make_networks() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "CI is set, and it needs root"
    );
    if !root {
        eprintln!("SKIPPED: it needs root, to make network namespaces");
    }
    root
}

/// A network of its own, held by a process that ends when this one does.
pub(crate) struct Namespace(Child);

impl Namespace {
    pub(crate) fn new() -> Self {
        // Reads until the other end of the pipe is closed, by whatever end of this process.
        let mut child = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo made; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is installed");
        let mut line = String::new();
        let made = BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line);
        made.expect("it says so");
        assert_eq!(line, "made\n");
        let namespace = Self(child);
        namespace.ip("link set lo up");
        namespace
    }

    /// Two networks, joined by a cable whose ends are called eth0, without addresses.
    pub(crate) fn pair() -> (Self, Self) {
        let (one, other) = (Self::new(), Self::new());
        let there = other.0.id();
        one.ip(&format!(
            "link add eth0 type veth peer name eth0 netns {there}"
        ));
        one.ip("link set eth0 up");
        other.ip("link set eth0 up");
        (one, other)
    }

    /// The same, with addresses 10.1.0.1 and 10.1.0.2.
    pub(crate) fn addressed_pair() -> (Self, Self) {
        let (one, other) = Self::pair();
        one.ip("addr add 10.1.0.1/24 dev eth0");
        other.ip("addr add 10.1.0.2/24 dev eth0");
        (one, other)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    fn command(&self, nsenter: &str) -> Command {
        let mut command = Command::new(nsenter);
        command.arg(format!("--net=/proc/{}/ns/net", self.0.id()));
        command
    }

    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) {
        let mut command = self.command("nsenter");
        command.args(["--", "ip"]);
        let status = command.args(arguments.split_whitespace()).status();
        assert!(status.expect("ip is installed").success(), "ip {arguments}");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
