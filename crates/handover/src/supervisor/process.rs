//! Instances as processes: started, watched, signalled.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use handover_proto::identity::{CandidateId, Epoch, InstanceId};
use handover_proto::outcome::Exit;
use handover_sys::Pidfd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::beyond;
use super::candidate::Candidate;
use super::channel::Sender;
use super::config::{Config, StderrPolicy, Wire};
use super::driver::Command;
use super::log::Logs;
use super::nginx;
use super::runtime;
use super::stderr::Capture;
use crate::readable::readable;

/// Names the service's runtime directory in an instance's environment: how a new supervisor finds
/// the instances of a dead one.
pub(super) const DIRECTORY_VARIABLE: &str = "HANDOVER_SERVICE_DIR";
/// Names the instance's number in its environment.
pub(super) const INSTANCE_VARIABLE: &str = "HANDOVER_INSTANCE";

/// One process of the service.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) candidate: CandidateId,
    pub(super) pid: u32,
    pub(super) pidfd: Arc<Pidfd>,
    pub(super) started: Instant,
    /// Its channel, once there is one.
    pub(super) link: Option<Sender>,
    /// What listens for it to speak beyond-handoff.
    pub(super) foreign: Option<beyond::Task>,
    /// It was started without us, and serves until it is asked to go.
    pub(super) stranger: bool,
    /// It was sent SIGKILL, so its end is no surprise.
    pub(super) killed: bool,
    /// Its channel closed a moment ago.
    pub(super) closing: bool,
    /// Its last `STATUS=`.
    pub(super) text: Option<String>,
    /// Connections as it counts them.
    pub(super) connections: Option<u64>,
    /// The lease it said it holds.
    pub(super) lease: Option<Epoch>,
    /// The task that finds out whether it is ready.
    pub(super) probe: Option<AbortHandle>,
    pub(super) stderr: Option<Capture>,
}

impl Process {
    pub(super) fn new(candidate: CandidateId, pidfd: Pidfd, stderr: Option<Capture>) -> Self {
        Self {
            candidate,
            pid: pidfd.pid(),
            pidfd: Arc::new(pidfd),
            started: Instant::now(),
            link: None,
            stranger: false,
            killed: false,
            closing: false,
            foreign: None,
            text: None,
            connections: None,
            lease: None,
            probe: None,
            stderr,
        }
    }

    pub(super) fn stop_probe(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop_probe();
    }
}

/// What an instance is started with, besides its candidate.
pub(super) struct Surroundings<'a> {
    pub(super) config: &'a Config,
    pub(super) service: &'a str,
    pub(super) dir: &'a Path,
    pub(super) null: BorrowedFd<'a>,
    /// The instance's end of its native channel.
    pub(super) channel: BorrowedFd<'a>,
    /// A channel of beyond-handoff, if it is offered one.
    pub(super) foreign: Option<&'a beyond::Channel>,
    /// Where its output goes, if not to ours.
    pub(super) logs: Option<&'a Logs>,
}

/// Starts an instance. Listeners arrive from descriptor 3 on, then the channel of beyond-handoff if
/// there is one, then the native channel.
///
/// # Errors
/// The kernel's reason, for people. No process is left.
pub(super) fn spawn(
    around: &Surroundings<'_>,
    instance: InstanceId,
    candidate: &Candidate,
) -> Result<Process, String> {
    let config = around.config;
    let capture = match config.stderr {
        StderrPolicy::Capture => Capture::create(around.dir, instance).ok(),
        StderrPolicy::Inherit => None,
    };
    let mut descriptors: Vec<BorrowedFd<'_>> = candidate
        .listeners
        .iter()
        .map(|listener| listener.as_fd())
        .collect();
    descriptors.extend(around.foreign.map(|channel| channel.end().as_fd()));
    descriptors.push(around.channel);
    let own_stderr = std::io::stderr();
    let mut spawn = candidate
        .spawn()
        .env(environment(around, instance, candidate))
        .descriptors(descriptors);
    if !config.attended {
        spawn = spawn.stdin(around.null).process_group();
    }
    if !candidate.listeners.is_empty() && !config.any_listen_pid {
        spawn = spawn.listen_pid();
    }
    if let Some(capture) = &capture {
        spawn = spawn.stderr(capture.writer());
    }
    if config.stdout_to_stderr || around.logs.is_some() {
        spawn = match &capture {
            Some(capture) => spawn.stdout(capture.writer()),
            None => spawn.stdout(own_stderr.as_fd()),
        };
    }
    if let Some(directory) = &config.directory {
        spawn = spawn.current_dir(directory);
    }
    let child = spawn.spawn().map_err(|error| error.to_string())?;
    drop(spawn);
    let pid = child.pidfd.pid();
    let capture = capture.map(|capture| capture.started(instance, pid, around.logs));
    Ok(Process::new(candidate.id, child.pidfd, capture))
}

/// The supervisor's environment without what was addressed to the supervisor, with what is
/// addressed to the instance.
fn environment(
    around: &Surroundings<'_>,
    instance: InstanceId,
    candidate: &Candidate,
) -> Vec<(OsString, OsString)> {
    let ours = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("LISTEN_")
            || name.starts_with("HANDOVER_")
            || name.starts_with("HANDOFF_")
            || matches!(
                &*name,
                "NOTIFY_SOCKET" | "WATCHDOG_USEC" | "WATCHDOG_PID" | "MAINPID"
            )
    };
    let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os()
        .filter(|(name, _)| !ours(name))
        .collect();
    let mut set = |name: &str, value: OsString| {
        variables.insert(name.into(), value);
    };
    let listeners = &candidate.listeners;
    if !listeners.is_empty() {
        let names: Vec<&str> = listeners
            .iter()
            .map(|open| open.entry.name.as_str())
            .collect();
        set("LISTEN_FDS", listeners.len().to_string().into());
        set("LISTEN_FDNAMES", names.join(":").into());
        if nginx::is_it(&candidate.argv) {
            set(nginx::VARIABLE, nginx::value(listeners.len()).into());
        }
    }
    set(
        "NOTIFY_SOCKET",
        around.dir.join(runtime::NOTIFY_SOCKET).into(),
    );
    set("HANDOVER_SERVICE", around.service.into());
    set(DIRECTORY_VARIABLE, around.dir.into());
    set(INSTANCE_VARIABLE, instance.0.to_string().into());
    set(
        "HANDOVER_SOCKET_FD",
        (3 + listeners.len() + usize::from(around.foreign.is_some()))
            .to_string()
            .into(),
    );
    set(
        "HANDOVER_NATIVE_SOCKET",
        around.dir.join(runtime::NATIVE_SOCKET).into(),
    );
    if cfg!(feature = "crash-points")
        && let Some(directory) = std::env::var_os("HANDOVER_CRASH_DIR")
    {
        set("HANDOVER_CRASH_DIR", directory);
    }
    if around.config.wire == Wire::BeyondHandoff {
        set("HANDOVER_WIRE", "beyond-handoff".into());
    }
    if around.foreign.is_some() {
        for (name, value) in beyond::Channel::environment(listeners.len()) {
            set(name, value.into());
        }
    }
    for (name, value) in &around.config.env {
        set(name, value.into());
    }
    variables.into_iter().collect()
}

/// Says when a process has ended. The task ends with it.
pub(super) fn watch(instance: InstanceId, pidfd: Arc<Pidfd>, to: UnboundedSender<Command>) {
    tokio::spawn(async move {
        let exit = match ended(pidfd).await {
            Ok(exit) => exit,
            Err(error) => {
                tracing::error!(%instance, %error, "a process could not be waited for");
                Exit::Unknown
            }
        };
        let _ = to.send(Command::Exited { instance, exit });
    });
}

async fn ended(pidfd: Arc<Pidfd>) -> std::io::Result<Exit> {
    let pidfd = readable(pidfd)?;
    loop {
        let mut ready = pidfd.readable().await?;
        if let Some(exit) = pidfd.get_ref().try_wait()? {
            return Ok(match exit {
                handover_sys::Exit::Code(code) => Exit::Code(code),
                handover_sys::Exit::Signal(signal) => Exit::Signal(signal),
                handover_sys::Exit::Unknown => Exit::Unknown,
            });
        }
        ready.clear_ready();
    }
}
