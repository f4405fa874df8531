//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are built or installed, not written.
const NOT_OURS: [&str; 4] = ["target", ".git", "node_modules", ".venv"];

/// A file of the repository.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Relative to the root, with `/` between folders.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

impl File {
    /// The folder it is in, relative to the root.
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Is it compiled only for tests?
    ///
    /// The simulator exists only to test the machines.
    pub(crate) fn is_test(&self) -> bool {
        let within = format!("/{}", self.path);
        let named = within.ends_with("/tests.rs") || within.ends_with("_tests.rs");
        named || within.contains("/tests/") || within.starts_with("/crates/handover-sim/")
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .expect("xtask is a folder of the repository")
        .to_owned()
}

/// Every Rust file.
pub(crate) fn rust() -> Vec<File> {
    ending(".rs")
}

/// Every file whose name ends like this, sorted by path.
pub(crate) fn ending(suffix: &str) -> Vec<File> {
    let mut files = Vec::new();
    for path in paths() {
        if path.ends_with(suffix) {
            let text = fs::read_to_string(root().join(&path)).expect("a text file of ours");
            files.push(File { path, text });
        }
    }
    assert!(
        !files.is_empty(),
        "no {suffix} file found: the walk is broken"
    );
    files
}

/// Every path of a file, relative to the root, sorted.
pub(crate) fn paths() -> Vec<String> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry of the repository").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if NOT_OURS.contains(&name.as_ref()) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(&root) {
                found.push(relative.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}
