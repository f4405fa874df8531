//! The program started again, to take over from this process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use handover_proto::identity::{Generation, InstanceId};
use handover_sys::Pidfd;
use handover_sys::spawn::Spawn;

use super::estate::Holding;
use crate::inheritance::variable;

/// How this process was started. Remembered then: the file may be replaced, and the program may
/// change its directory.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arg0: OsString,
    args: Vec<OsString>,
    directory: Option<PathBuf>,
}

/// What the new process is given.
pub(super) struct Legacy<'a> {
    pub(super) listeners: &'a [Holding],
    pub(super) channel: &'a UnixStream,
    pub(super) socket: &'a UnixListener,
    pub(super) instance: InstanceId,
    pub(super) generation: Generation,
}

impl Program {
    /// This process's own.
    ///
    /// # Errors
    /// `/proc` does not say which file it is.
    pub(super) fn own() -> io::Result<Self> {
        let mut args = std::env::args_os();
        let path = std::env::current_exe()?;
        Ok(Self {
            arg0: args.next().unwrap_or_else(|| path.clone().into()),
            path,
            args: args.collect(),
            directory: std::env::current_dir().ok(),
        })
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let mut shown = self.path.display().to_string();
        for arg in &self.args {
            shown.push(' ');
            shown.push_str(&arg.to_string_lossy());
        }
        shown
    }

    /// Starts it with everything that is ours. Costs the same however much memory we hold. `managed`: a
    /// service manager is told of it, and it becomes that manager's child if we are.
    ///
    /// # Errors
    /// The kernel's reason, for people. No process is left.
    pub(super) fn start(&self, legacy: &Legacy<'_>, managed: bool) -> Result<Pidfd, String> {
        let mut descriptors: Vec<BorrowedFd<'_>> =
            legacy.listeners.iter().map(AsFd::as_fd).collect();
        descriptors.push(legacy.channel.as_fd());
        descriptors.push(legacy.socket.as_fd());
        let mut spawn = Spawn::path(&self.path)
            .arg0(&self.arg0)
            .args(&self.args)
            .env(environment(legacy))
            .descriptors(descriptors);
        if !legacy.listeners.is_empty() {
            spawn = spawn.listen_pid();
        }
        if let Some(directory) = &self.directory {
            spawn = spawn.current_dir(directory);
        }
        if managed && is_child_of_systemd() {
            spawn = spawn.sibling();
        }
        let child = spawn.spawn().map_err(|error| error.to_string())?;
        Ok(child.pidfd)
    }
}

/// Whether systemd itself started us. It stops a main process that is not its child by SIGKILL at once,
/// since it could not wait for it (systemd 252, `unit_kill_context`).
fn is_child_of_systemd() -> bool {
    // From the first process of a pid namespace it has the number 0, and none is found.
    let parent = handover_sys::process::status(std::os::unix::process::parent_id());
    parent.is_ok_and(|parent| parent.name == "systemd")
}

/// Our environment without what was addressed to us, with what is addressed to the new process.
fn environment(legacy: &Legacy<'_>) -> Vec<(OsString, OsString)> {
    let addressed = |name: &OsString| {
        let name = name.to_string_lossy();
        name.starts_with("LISTEN_") || name == "WATCHDOG_PID" || variable::OURS.contains(&&*name)
    };
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| !addressed(name))
        .collect();
    let mut set = |name: &str, value: String| environment.push((name.into(), value.into()));
    let names = |held_only: bool| {
        let listeners = legacy.listeners.iter().map(|held| &held.passed);
        let listeners = listeners.filter(|passed| !held_only || passed.held);
        let names: Vec<&str> = listeners.map(|passed| &*passed.listener.name).collect();
        names.join(":")
    };
    let count = legacy.listeners.len();
    if count > 0 {
        set("LISTEN_FDS", count.to_string());
        set("LISTEN_FDNAMES", names(false));
    }
    set(variable::SOCKET_FD, (FIRST + count).to_string());
    set(variable::TAKEOVER_FD, (FIRST + count + 1).to_string());
    set(variable::COORDINATOR, variable::INCUMBENT.into());
    set(variable::INSTANCE, legacy.instance.0.to_string());
    set(variable::GENERATION, legacy.generation.0.to_string());
    set(variable::HELD, names(true));
    environment
}

/// The number of the first descriptor passed on (`SD_LISTEN_FDS_START` of sd-daemon.h).
const FIRST: usize = 3;
