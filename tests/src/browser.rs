//! A real browser without a window: Chromium, told what to do over its DevTools protocol.
//!
//! `--remote-debugging-pipe` takes commands on descriptor 3 and answers on 4, JSON values that end
//! in a zero byte: no port, no WebSocket. Here both are FIFOs in the browser's own directory.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::fs::{FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::patience::{LONG, eventually};
use crate::peer;

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: File,
    answers: Receiver<Value>,
    session: String,
    sent: u64,
    _directory: TempDir,
}

impl Browser {
    /// Starts one; `None`, with the reason printed, where there is no Chromium.
    ///
    /// # Panics
    ///
    /// When it does not start, or there is none although `CI` is set.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = peer::installed("chromium")?;
        let directory = tempfile::tempdir().unwrap();
        let (input, output) = (fifo(&directory, "in"), fifo(&directory, "out"));
        // The shell opens both ends in the order in which they are opened here.
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
                      --no-first-run --user-data-dir=\"$1\" --remote-debugging-pipe about:blank \
                      3<\"$2\" 4>\"$3\"";
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(program)
            .arg(directory.path().join("profile"))
            .args([&input, &output])
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let commands = OpenOptions::new().write(true).open(&input).unwrap();
        let answers = read(File::open(&output).unwrap());
        let mut browser = Self {
            child,
            commands,
            answers,
            session: String::new(),
            sent: 0,
            _directory: directory,
        };
        let page = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": page["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &target);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    /// Opens an address in the page and waits until its document is there.
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", &json!({ "url": url }));
        assert!(opened.get("errorText").is_none(), "{url}: {opened}");
        eventually("the document", || {
            let here = self.evaluate("document.readyState + ' ' + location.href");
            here.as_str()
                .unwrap()
                .starts_with("complete http")
                .then_some(())
        });
    }

    /// The value of an expression in the page.
    ///
    /// # Panics
    ///
    /// When it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression,
            "returnByValue": true,
            "awaitPromise": true,
        });
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// The text of the element with this id, as it is seen.
    pub fn text(&mut self, id: &str) -> String {
        let text = self.evaluate(&format!("document.getElementById('{id}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Gives the page the size of a screen, in its pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Says which colours are preferred: `light` or `dark`.
    pub fn prefer(&mut self, colours: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": colours});
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
    }

    /// A command of the protocol, and its result.
    ///
    /// # Panics
    ///
    /// When it fails, or is not answered for [`LONG`].
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut command = json!({"id": self.sent, "method": method, "params": parameters});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        let patience = Instant::now() + LONG;
        loop {
            let left = patience.saturating_duration_since(Instant::now());
            let answer = self.answers.recv_timeout(left);
            let answer = answer.unwrap_or_else(|error| panic!("{method}: {error}"));
            // Others are events.
            if answer["id"] == self.sent {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It has processes of its own, all of its group.
        if let Some(group) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

fn fifo(directory: &TempDir, name: &str) -> std::path::PathBuf {
    let path = directory.path().join(name);
    let here: &Path = &path;
    mknodat(rustix::fs::CWD, here, FileType::Fifo, Mode::RWXU, 0).unwrap();
    path
}

/// Values that end in a zero byte, until the browser ends.
fn read(from: File) -> Receiver<Value> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from.read_until(0, &mut bytes).is_ok_and(|count| count > 0) {
            if bytes.last() == Some(&0) {
                bytes.pop();
            }
            let Ok(value) = serde_json::from_slice(&bytes) else {
                return;
            };
            if sender.send(value).is_err() {
                return;
            }
            bytes.clear();
        }
    });
    receiver
}
