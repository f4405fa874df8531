//! A program in a container, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::process::Signal;
use serde_json::Value;

use crate::patience::eventually;
use crate::process;

/// A program that says what happens as one JSON object a line, with its name as `event`. It is
/// killed, with all it started, when this is dropped.
#[derive(Debug)]
pub struct Entrypoint {
    outer: Child,
    /// The program itself, as this process sees it.
    pid: u32,
    said: Arc<Mutex<Said>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Said {
    events: Vec<Value>,
    /// Everything, for whoever reads why a test failed.
    lines: Vec<String>,
}

impl Entrypoint {
    /// Starts a program that `command` becomes.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn plain(command: Command) -> Self {
        Self::start(command, Some)
    }

    /// Starts a program as the first process of a pid namespace, which `command` forks.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn first_process(command: Command) -> Self {
        Self::start(command, process::child)
    }

    fn start(mut command: Command, pid: impl Fn(u32) -> Option<u32>) -> Self {
        let mut outer = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = Arc::new(Mutex::new(Said::default()));
        let readers = vec![
            listen(outer.stdout.take().expect("it is piped"), &said),
            listen(outer.stderr.take().expect("it is piped"), &said),
        ];
        let pid = eventually("the program in the container", || {
            let ended = outer.try_wait().expect("it is our child");
            pid(outer.id()).or_else(|| ended.map(|_| outer.id()))
        });
        Self {
            outer,
            pid,
            said,
            readers,
        }
    }

    /// Its pid, as this process sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The events of this name that it has said so far.
    ///
    /// # Panics
    /// When a reader panicked.
    #[must_use]
    pub fn said(&self, event: &str) -> Vec<Value> {
        let said = self.said.lock().expect("no reader panics");
        let named = said.events.iter().filter(|value| value["event"] == event);
        named.cloned().collect()
    }

    /// The first line so far that contains this.
    ///
    /// # Panics
    /// When a reader panicked.
    #[must_use]
    pub fn line(&self, text: &str) -> Option<String> {
        let said = self.said.lock().expect("no reader panics");
        said.lines.iter().find(|line| line.contains(text)).cloned()
    }

    /// Waits until it says this, and gives the first.
    ///
    /// # Panics
    /// When it never does.
    pub fn until(&self, event: &str) -> Value {
        eventually(&format!("event {event}"), || {
            self.said(event).into_iter().next()
        })
    }

    /// Waits until a line contains this.
    ///
    /// # Panics
    /// When none ever does.
    pub fn until_mentions(&self, text: &str) {
        eventually(text, || self.line(text));
    }

    /// Whether it is there and could run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        process::is_alive(self.pid)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid, signal);
    }

    /// Waits for its end: its exit code, or 128 and the signal that killed it.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ended(&mut self) -> i32 {
        let outer = &mut self.outer;
        let status = eventually("its end", || outer.try_wait().expect("it is our child"));
        let killed = status.signal().map(|signal| 128 + signal);
        status.code().or(killed).expect("one or the other")
    }

    /// Kills it, and waits until it is gone.
    ///
    /// # Panics
    /// When it does not end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended();
    }
}

impl Drop for Entrypoint {
    fn drop(&mut self) {
        // A pid that was waited for may be somebody else's.
        if let Ok(None) = self.outer.try_wait() {
            self.signal(Signal::KILL);
            let _ = self.outer.kill();
            let _ = self.outer.wait();
        }
        if thread::panicking() {
            for reader in self.readers.drain(..) {
                let _ = reader.join();
            }
            let said = self.said.lock().map(|said| said.lines.join("\n"));
            eprintln!("--- process {}\n{}", self.pid, said.unwrap_or_default());
        }
    }
}

fn listen(stream: impl Read + Send + 'static, said: &Arc<Mutex<Said>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let event = serde_json::from_str(&line).ok().filter(Value::is_object);
            let Ok(mut said) = said.lock() else { return };
            said.events.extend(event);
            said.lines.push(line);
        }
    })
}
