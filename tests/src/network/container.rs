//! A container: file system, process tree, network.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::{Entrypoint, Namespace};
use crate::patience::until;

const ENTER: &str = include_str!("container/enter.sh");

/// Where handover-lib 0.0.10 writes its file, and where ours does by default.
const COMPLETE: &str = "tmp/balena/handover-complete";

/// A container. What is in its `/tmp` and `/run` stays from one program in it to the next, as it
/// does when a restart policy starts a container again.
#[derive(Debug)]
pub struct Container {
    network: Arc<Namespace>,
    directory: TempDir,
    boot_id: String,
    clock: Option<String>,
    seen: Vec<PathBuf>,
}

impl Container {
    /// An empty one on this network.
    ///
    /// # Panics
    /// When its directory cannot be made.
    #[must_use]
    pub fn on(network: Arc<Namespace>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for made in ["run", "tmp/balena"] {
            fs::create_dir_all(directory.path().join(made)).expect("created");
        }
        fs::write(directory.path().join("enter.sh"), ENTER).expect("written");
        Self {
            network,
            directory,
            boot_id: String::new(),
            clock: None,
            seen: Vec::new(),
        }
    }

    /// Lets it see another boot id, as if it ran on another device.
    #[must_use]
    pub fn boot_id(mut self, boot_id: &str) -> Self {
        boot_id.clone_into(&mut self.boot_id);
        self
    }

    /// Sets its wall clock off by what `faketime` understands (`-2h`). Monotonic clocks stay true,
    /// as they do when the clock of a device is set. Programs that ask the kernel by themselves,
    /// without the C library, are not fooled.
    #[must_use]
    pub fn clock(mut self, offset: &str) -> Self {
        self.clock = Some(offset.to_owned());
        self
    }

    /// Lets it see this path of the host, as a volume is seen.
    #[must_use]
    pub fn sees(mut self, path: &Path) -> Self {
        self.seen.push(path.to_path_buf());
        self
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> &Arc<Namespace> {
        &self.network
    }

    /// A command that starts `program` as the first process of this container, with nothing of the
    /// environment that would be taken for its own.
    ///
    /// # Panics
    /// When this build has no path.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.network.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        let directory = self.directory.path();
        command.arg("sh").arg(directory.join("enter.sh"));
        command
            .arg(directory)
            .arg(&self.boot_id)
            .args(kept())
            .args(&self.seen);
        command.arg("--");
        if let Some(offset) = &self.clock {
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("DONT_FAKE_MONOTONIC", "1");
            command.args(["faketime", "-m", "-f", offset]);
        }
        command.arg(program);
        command
    }

    /// Starts what [`Container::command`] made.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(&self, command: Command) -> Entrypoint {
        Entrypoint::first_process(command)
    }

    /// A path in it, as seen from here; only `/tmp` and `/run` are its own.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    /// What the handover-complete file says; `None` while there is none.
    #[must_use]
    pub fn complete(&self) -> Option<String> {
        fs::read_to_string(self.file(COMPLETE)).ok()
    }

    /// Waits for the handover-complete file to be whole.
    ///
    /// # Panics
    /// When it never is.
    pub fn until_complete(&self) {
        until("the handover-complete file", || {
            self.complete().is_some_and(|content| !content.is_empty())
        });
    }
}

/// What a container needs of the host and may lie below a directory that is its own: programs of
/// this build, sources, third parties.
fn kept() -> Vec<PathBuf> {
    let test = std::env::current_exe().expect("a path");
    let built = test.ancestors().nth(2).expect("target/debug/deps/test");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut kept = vec![built.to_path_buf(), sources.to_path_buf()];
    kept.extend(std::env::var_os("HANDOVER_TEST_HANDOVER_LIB").map(PathBuf::from));
    kept
}
