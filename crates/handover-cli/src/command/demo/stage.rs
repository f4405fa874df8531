//! The supervisor of the demo, and the promise that nothing of it stays behind.

use super::DemoError;
use crate::client::Client;
use crate::discovery::SOCKET;
use handover_proto::event::{Event, EventKind};
use handover_proto::outcome::Outcome;
use handover_proto::settings::Stop;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The service's name.
const SERVICE: &str = "demo";

/// How long the first version may take: a cold start on a busy machine.
const BEGIN: Duration = Duration::from_secs(30);

/// How long a version may take until it is ready; the one that never is costs this much.
const READY: &str = "3s";

/// How long the supervisor may take to stop everything before it is killed.
const CLEAR: Duration = Duration::from_secs(10);

/// How much of the supervisor's last words is shown.
const LAST_WORDS: usize = 2_000;

/// The supervisor in a runtime directory of its own.
#[derive(Debug)]
pub(super) struct Stage {
    directory: tempfile::TempDir,
    supervisor: Child,
    events: Option<Lines<BufReader<ChildStdout>>>,
}

impl Stage {
    /// Starts the supervisor, in a process group of its own: Ctrl-C reaches only us, and we stop
    /// it in order.
    pub(super) fn set() -> Result<Self, DemoError> {
        let directory = tempfile::tempdir().map_err(DemoError::Directory)?;
        let program = std::env::current_exe().map_err(DemoError::OwnPath)?;
        let stderr = File::create(log(directory.path())).map_err(DemoError::Directory)?;
        let mut command = Command::new(&program);
        command
            .args(["run", "--format", "json", "--name", SERVICE])
            .args(["--ready", "native", "--ready-timeout", READY])
            .args(["--drain-notify", "1s", "--drain-grace", "5s"])
            .args(["--listen", "http=127.0.0.1:0"])
            .arg("--runtime-dir")
            .arg(directory.path())
            .arg("--")
            .arg(&program)
            .args(super::trigger::arguments(1, None));
        // Settings of the caller's own services have no business here.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"HANDOVER_") {
                command.env_remove(name);
            }
        }
        let mut supervisor = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|source| DemoError::Spawn { program, source })?;
        let stdout = supervisor.stdout.take();
        let events = stdout.map(|stdout| BufReader::new(stdout).lines());
        Ok(Self {
            directory,
            supervisor,
            events,
        })
    }

    pub(super) fn runtime_dir(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.directory.path().join(SERVICE).join(SOCKET))
    }

    /// Waits until version 1 serves, and says where.
    pub(super) async fn begin(&mut self) -> Result<String, DemoError> {
        match tokio::time::timeout(BEGIN, self.address()).await {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(DemoError::Ended {
                last_words: self.last_words(),
            }),
            Err(_) => Err(DemoError::NotReady {
                within: BEGIN,
                last_words: self.last_words(),
            }),
        }
    }

    async fn address(&mut self) -> Option<String> {
        let mut address = None;
        let mut events = self.events.take()?;
        while let Ok(Some(line)) = events.next_line().await {
            let Ok(event) = serde_json::from_str::<Event>(&line) else {
                continue;
            };
            match event.kind {
                EventKind::ListenerOpened { listener } => address = Some(listener.address),
                EventKind::HandoverFinished {
                    outcome: Outcome::Committed { .. },
                    ..
                } => {
                    tokio::spawn(drain(events));
                    return address;
                }
                _ => {}
            }
        }
        None
    }

    fn last_words(&self) -> String {
        let text = std::fs::read(log(self.directory.path())).unwrap_or_default();
        let from = text.len().saturating_sub(LAST_WORDS);
        String::from_utf8_lossy(&text[from..]).into_owned()
    }

    /// Stops everything: in order if that works, else by force.
    pub(super) async fn clear(mut self) {
        let client = self.client();
        // Asked first, because a killed supervisor cannot tell any more who is left.
        let status = client.status().await.ok();
        if client.stop(Stop::Fast).await.is_err() {
            // It does not listen yet, or no more; it understands a signal either way.
            signal(self.supervisor.id(), Signal::INT);
        }
        if tokio::time::timeout(CLEAR, self.supervisor.wait())
            .await
            .is_ok()
        {
            return;
        }
        // Fails only if it has just ended.
        let _ = self.supervisor.kill().await;
        let instances = status.iter().flat_map(crate::view::status::roles);
        for (_, instance) in instances {
            signal(instance.pid.map(|pid| pid.0), Signal::KILL);
        }
    }
}

/// Reads what nobody needs, so that the supervisor's pipe never fills.
async fn drain(mut events: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = events.next_line().await {}
}

fn log(directory: &Path) -> PathBuf {
    directory.join("supervisor.log")
}

fn signal(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| i32::try_from(pid).ok());
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        // It has ended already: all the better.
        let _ = kill_process(pid, signal);
    }
}
