//! A service manager as far as a service sees one: it hears what the service says, keeps what is
//! left with it, and passes that to the next process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use handover_sys::notify::{Notification, NotifySocket};
use handover_sys::spawn::{Child, Spawn};
use handover_sys::{Exit, Signal};
use tempfile::TempDir;

use crate::control::{self, Control};
use crate::patience::{eventually, until};
use crate::process;
use crate::service::{NAME, command_path};

/// One message.
#[derive(Debug)]
pub struct Heard {
    /// Who sent it, as the kernel says.
    pub pid: u32,
    /// What it said.
    pub said: Vec<Notification>,
    /// How many descriptors came with it.
    pub descriptors: usize,
}

impl Heard {
    /// The value of an assignment that has no type of its own.
    #[must_use]
    pub fn other(&self, key: &str) -> Option<&str> {
        self.said.iter().find_map(|said| match said {
            Notification::Other(found, value) if found == key => Some(value.as_str()),
            _ => None,
        })
    }

    /// The status line in it.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        self.said.iter().find_map(|said| match said {
            Notification::Status(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

/// The service manager, and the one service it has.
pub struct Systemd {
    directory: TempDir,
    socket: NotifySocket,
    heard: Vec<Heard>,
    store: Vec<(String, OwnedFd)>,
    main: Option<Child>,
    variables: Vec<(String, String)>,
    runs: u32,
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

impl Systemd {
    /// Listens, and runs nothing yet.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = NotifySocket::bind(directory.path().join("notify")).expect("a socket");
        Self {
            directory,
            socket,
            heard: Vec::new(),
            store: Vec::new(),
            main: None,
            variables: Vec::new(),
            runs: 0,
        }
    }

    /// A variable of the service's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Puts a descriptor into the store, as if the service had.
    pub fn put(&mut self, name: &str, descriptor: OwnedFd) {
        self.store.push((name.into(), descriptor));
    }

    /// Starts `handover run` for this program, with what the store holds.
    pub fn supervise(&mut self, flags: &[&str], program: &Path) {
        let fixed = ["run", "--name", NAME, "--format", "json"];
        let program = program.display().to_string();
        let last = ["--", program.as_str()];
        let words = fixed.iter().chain(flags).chain(&last);
        let words: Vec<String> = words.map(|&word| word.to_owned()).collect();
        self.start(&command_path(), &words);
    }

    /// Starts a program as the main process of the service.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&mut self, program: &Path, words: &[String]) {
        self.runs += 1;
        let theirs = |name: &str| {
            name.starts_with("LISTEN_")
                || name.starts_with("HANDOVER_")
                || name.starts_with("WATCHDOG_")
                || name == "NOTIFY_SOCKET"
        };
        let mut variables: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| !theirs(&name.to_string_lossy()))
            .collect();
        let mut set = |name: &str, value: String| variables.push((name.into(), value.into()));
        set("NOTIFY_SOCKET", self.socket.path().display().to_string());
        set("HANDOVER_RUNTIME_DIR", self.root().display().to_string());
        for (name, value) in &self.variables {
            set(name, value.clone());
        }
        if !self.store.is_empty() {
            let names: Vec<_> = self.store.iter().map(|(name, _)| name.as_str()).collect();
            set("LISTEN_FDS", names.len().to_string());
            set("LISTEN_FDNAMES", names.join(":"));
        }
        let descriptors = self
            .store
            .iter()
            .map(|(_, stored)| stored.as_fd())
            .collect();
        let stdout = File::create(self.output("events")).expect("a file");
        let stderr = File::create(self.output("stderr")).expect("a file");
        let mut spawn = Spawn::path(program)
            .args(words)
            .env(variables)
            .descriptors(descriptors)
            .stdout(stdout.as_fd())
            .stderr(stderr.as_fd());
        if !self.store.is_empty() {
            spawn = spawn.listen_pid();
        }
        let child = spawn.spawn().expect("it starts");
        drop(spawn);
        self.main = Some(child);
    }

    fn output(&self, what: &str) -> PathBuf {
        self.directory.path().join(format!("{what}-{}", self.runs))
    }

    /// Everything that the present supervisor published.
    #[must_use]
    pub fn events(&self) -> Vec<handover_proto::event::Event> {
        control::events(&fs::read_to_string(self.output("events")).unwrap_or_default())
    }

    /// What the main process wrote to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.output("stderr")).unwrap_or_default()
    }

    /// The directory of the runtime directory.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// The supervisor's control socket.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.root().join(NAME).join("control.sock"))
    }

    /// The main process.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn main_pid(&self) -> u32 {
        self.main.as_ref().expect("a main process").pidfd.pid()
    }

    /// Sends a signal to the main process.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal(&self, signal: Signal) {
        let main = self.main.as_ref().expect("a main process");
        main.pidfd.signal(signal).expect("signalled");
    }

    /// Waits until the main process has ended, hearing what it still says.
    ///
    /// # Panics
    /// When there is none, or it does not end.
    pub fn ended(&mut self) -> Exit {
        let exit = eventually("the main process ends", || {
            self.hear();
            let main = self.main.as_ref().expect("a main process");
            main.pidfd.try_wait().expect("waits")
        });
        self.main = None;
        self.hear();
        exit
    }

    /// Kills every process of the service, as the kernel would without memory.
    ///
    /// # Panics
    /// When one survives.
    pub fn kill_everything(&mut self) {
        self.signal(Signal::KILL);
        let exit = self.ended();
        assert_eq!(exit, Exit::Signal(9));
        let dir = self.root().join(NAME);
        until("no process of the service is left", || {
            for pid in process::of_service(&dir) {
                process::signal(pid, rustix::process::Signal::KILL);
            }
            process::of_service(&dir).is_empty()
        });
    }

    /// Reads what has been said, and does with descriptors what it asks for.
    fn hear(&mut self) {
        while let Some((sender, said, descriptors)) = self.socket.receive_all().expect("a message")
        {
            let heard = Heard {
                pid: sender.pid,
                said,
                descriptors: descriptors.len(),
            };
            let name = heard.other("FDNAME").unwrap_or("stored").to_owned();
            if heard.other("FDSTORE") == Some("1") {
                for descriptor in descriptors {
                    // As systemd: what is there already is not kept twice.
                    let new = same(&descriptor);
                    if !self.store.iter().any(|(_, stored)| same(stored) == new) {
                        self.store.push((name.clone(), descriptor));
                    }
                }
            } else if heard.other("FDSTOREREMOVE") == Some("1") {
                self.store.retain(|(stored, _)| *stored != name);
            }
            self.heard.push(heard);
        }
    }

    /// Waits until what was heard is as wanted.
    ///
    /// # Panics
    /// When it does not become so.
    pub fn until<T>(&mut self, what: &str, look: impl Fn(&[Heard]) -> Option<T>) -> T {
        eventually(what, || {
            self.hear();
            look(&self.heard)
        })
    }

    /// Waits for this notification, after so many messages, and says after how many it came.
    pub fn after(&mut self, messages: usize, wanted: &Notification) -> usize {
        self.until(&format!("{wanted:?}"), |heard| {
            let later = heard.iter().enumerate().skip(messages);
            later
                .filter(|(_, heard)| heard.said.contains(wanted))
                .map(|(at, _)| at)
                .next()
        })
    }

    /// Everything that was heard.
    #[must_use]
    pub fn heard(&mut self) -> &[Heard] {
        self.hear();
        &self.heard
    }

    /// Names in the store, in order.
    #[must_use]
    pub fn stored(&mut self) -> Vec<String> {
        self.hear();
        let mut names: Vec<_> = self.store.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// The first listener of the service.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let status = self.control().status();
        let first = status.listeners.first().expect("a listener");
        first.address.parse().expect("an address")
    }
}

/// What tells two descriptors of one file from those of two.
fn same(descriptor: &OwnedFd) -> Option<(u64, u64)> {
    let file = File::from(descriptor.try_clone().ok()?);
    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino()))
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hear();
            for heard in &self.heard {
                eprintln!("{heard:?}");
            }
            eprintln!("standard error:\n{}", self.stderr());
            for event in self.events().iter().rev().take(30).rev() {
                eprintln!("{} {}", event.unix_ms, event.kind);
            }
        }
        if let Some(main) = self.main.take() {
            let _ = main.pidfd.signal(Signal::KILL);
            let _ = main.pidfd.wait(None);
        }
        let dir = self.root().join(NAME);
        for _ in 0..100 {
            let left = process::of_service(&dir);
            if left.is_empty() {
                return;
            }
            for pid in left {
                process::signal(pid, rustix::process::Signal::KILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
