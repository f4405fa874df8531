//! Nodes that die, or stop, just before an effect of a move. The other side is `handover-hub`'s feature
//! `crash-points`.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

/// How a node meets its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `SIGKILL`.
    Kill,
    /// `SIGSTOP`: whoever planned it has time to kill another one.
    Stop,
}

/// A directory that nodes look into before each effect of a move.
#[derive(Debug)]
pub struct Deaths(TempDir);

impl Default for Deaths {
    fn default() -> Self {
        Self::new()
    }
}

impl Deaths {
    /// An empty one: nobody dies.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let memory = tempfile::tempdir_in("/dev/shm");
        Self(
            memory
                .or_else(|_| tempfile::tempdir())
                .expect("a directory"),
        )
    }

    /// Has the node of this name look there.
    pub fn concern(&self, command: &mut Command, node: &str) {
        command.env("HANDOVER_HUB_CRASH_DIR", self.0.path());
        command.env("HANDOVER_HUB_CRASH_NODE", node);
    }

    /// From now on what is done for moves of this process is traced, and the node dies just before
    /// the effect.
    ///
    /// # Panics
    /// When the plan cannot be written.
    pub fn plan(&self, process: &str, death: Option<(&str, &str, How)>) {
        let line = death.map_or_else(String::new, |(node, effect, how)| {
            let how = match how {
                How::Kill => "kill",
                How::Stop => "stop",
            };
            format!("{node} {effect} {how}\n")
        });
        self.over();
        let beside = self.0.path().join("plan.new");
        fs::write(&beside, format!("{process}\n{line}")).expect("written");
        fs::rename(beside, self.0.path().join("plan")).expect("renamed");
    }

    /// Nobody dies or is traced from now on.
    pub fn over(&self) {
        for file in ["plan", "trace", "fired"] {
            let _ = fs::remove_file(self.0.path().join(file));
        }
    }

    /// The effects so far: of which node, and its name.
    #[must_use]
    pub fn trace(&self) -> Vec<(String, String)> {
        self.lines("trace")
    }

    /// Of which node the plan was carried out, and before which effect.
    #[must_use]
    pub fn fired(&self) -> Option<(String, String)> {
        self.lines("fired").pop()
    }

    fn lines(&self, file: &str) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.0.path().join(file)).unwrap_or_default();
        let fields = text.lines().filter_map(|line| line.split_once(' '));
        fields
            .map(|(node, effect)| (node.to_owned(), effect.to_owned()))
            .collect()
    }
}
