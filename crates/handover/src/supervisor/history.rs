//! Finished attempts, a line each, across restarts of the supervisor.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use handover_proto::status::HistoryEntry;

use super::runtime;

/// Attempts that are kept; the file is rewritten when it has twice as many.
const KEPT: usize = 1000;

#[derive(Debug)]
pub(super) struct History {
    path: PathBuf,
    entries: VecDeque<HistoryEntry>,
    lines: usize,
}

impl History {
    pub(super) fn in_dir(dir: &Path) -> Self {
        let path = dir.join(runtime::HISTORY);
        let text = fs::read_to_string(&path).unwrap_or_default();
        // A line that a dying supervisor wrote half is left out.
        let entries: VecDeque<HistoryEntry> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let lines = entries.len();
        let mut history = Self {
            path,
            entries,
            lines,
        };
        history.forget();
        history
    }

    pub(super) fn entries(&self) -> Vec<HistoryEntry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn push(&mut self, entry: HistoryEntry) {
        if let Err(error) = self.append(&entry) {
            tracing::warn!(%error, path = %self.path.display(), "history is not written");
        }
        self.entries.push_back(entry);
        self.forget();
    }

    fn append(&mut self, entry: &HistoryEntry) -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        file.write_all(&line)?;
        self.lines += 1;
        if self.lines >= 2 * KEPT {
            let mut text = Vec::new();
            for entry in &self.entries {
                serde_json::to_writer(&mut text, entry)?;
                text.push(b'\n');
            }
            text.extend_from_slice(&line);
            fs::write(&self.path, text)?;
            self.lines = self.entries.len() + 1;
        }
        Ok(())
    }

    fn forget(&mut self) {
        let surplus = self.entries.len().saturating_sub(KEPT);
        self.entries.drain(..surplus);
    }
}
