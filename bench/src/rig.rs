//! A supervisor in a process of its own, with the server of this very program under it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use handover::supervisor::{Config, StderrPolicy, Supervisor};
use handover_proto::phase::Mode;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Failure, client};

/// How long a start may take before the benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(30);

const EXCLUSIVE: &str = "exclusive";

/// `supervise MODE RUNTIME_DIR PROGRAM ARGS…`
pub(crate) async fn supervise(words: &[&str]) -> Result<(), Failure> {
    let [mode, dir, program @ ..] = words else {
        return Err("supervise needs a mode and a directory".into());
    };
    let config = Config {
        mode: match *mode {
            EXCLUSIVE => Mode::Exclusive,
            _ => Mode::Overlap,
        },
        service: "bench".into(),
        listeners: vec!["http=127.0.0.1:0".parse()?],
        program: program.iter().map(|word| (*word).to_owned()).collect(),
        runtime_dir: Some(PathBuf::from(dir)),
        stderr: StderrPolicy::Inherit,
        ..Config::default()
    };
    Supervisor::new(config).await?.run().await?;
    Ok(())
}

/// A running supervisor. Stopped, with its instances, when dropped.
pub(crate) struct Rig {
    supervisor: Child,
    socket: PathBuf,
    pub(crate) address: SocketAddr,
    _dir: Option<TempDir>,
}

impl Rig {
    /// Starts a supervisor of the stateless server and waits until it answers.
    pub(crate) fn start(start_delay: Duration) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let delay = start_delay.as_millis().to_string();
        let server = ["server", "127.0.0.1:0", &delay].map(str::to_owned);
        let mut rig = Self::of(Mode::Overlap, dir.path(), &server)?;
        rig._dir = Some(dir);
        Ok(rig)
    }

    /// Starts a supervisor of this program with these arguments and waits until it serves.
    pub(crate) fn of(mode: Mode, dir: &Path, arguments: &[String]) -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let mode = match mode {
            Mode::Overlap => "overlap",
            Mode::Exclusive => EXCLUSIVE,
        };
        let supervisor = Command::new(&own)
            .args(["supervise", mode])
            .arg(dir)
            .arg(&own)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()?;
        let socket = dir.join("bench/control.sock");
        let mut rig = Self {
            supervisor,
            socket,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            _dir: None,
        };
        let status = rig.wait("the first instance to serve", |status| {
            status["incumbent"].is_object() && status["phase"] == "serving"
        })?;
        let address = status["listeners"][0]["address"]
            .as_str()
            .ok_or("no listener")?;
        rig.address = address.parse()?;
        Ok(rig)
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until a status satisfies the question.
    pub(crate) fn wait(
        &self,
        what: &str,
        satisfied: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let since = Instant::now();
        loop {
            let status = client::order(&self.socket, "GET", "/v1/status");
            match status {
                Ok(status) if satisfied(&status) => return Ok(status),
                other if since.elapsed() > PATIENCE => {
                    return Err(format!("waited for {what}, found {other:?}").into());
                }
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Waits until one instance is left, so that a measurement does not overlap the last drain.
    pub(crate) fn settle(&self) -> Result<Value, Failure> {
        self.wait("the old instance to go", |status| {
            status["leaving"].as_array().is_some_and(Vec::is_empty) && status["phase"] == "serving"
        })
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let mut stop = || -> io::Result<()> {
            client::order(&self.socket, "POST", "/v1/stop")?;
            self.supervisor.wait().map(drop)
        };
        if stop().is_err() {
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
    }
}
