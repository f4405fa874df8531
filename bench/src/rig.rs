//! A supervisor in a process of its own, with the server of this very program under it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use handover::supervisor::{Config, StderrPolicy, Supervisor};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Failure, client};

/// How long a start may take before the benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// `supervise RUNTIME_DIR PROGRAM ARGS…`
pub(crate) async fn supervise(program: &[&str]) -> Result<(), Failure> {
    let (dir, program) = program.split_first().ok_or("supervise needs a directory")?;
    let config = Config {
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
    _dir: TempDir,
}

impl Rig {
    /// Starts a supervisor and waits until its server answers.
    pub(crate) fn start(start_delay: Duration) -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let dir = tempfile::tempdir()?;
        let supervisor = Command::new(&own)
            .arg("supervise")
            .arg(dir.path())
            .arg(&own)
            .args([
                "server",
                "127.0.0.1:0",
                &start_delay.as_millis().to_string(),
            ])
            .stdin(Stdio::null())
            .spawn()?;
        let socket = dir.path().join("bench/control.sock");
        let mut rig = Self {
            supervisor,
            socket,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            _dir: dir,
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
