//! The files of a project that somebody works on: which of them count, and which have changed.
//!
//! What has changed is found by looking: a notification only says when. So it does not matter what a
//! system reports of an editor that writes a new file and renames it, and `.gitignore` is read by
//! the crate that knows all of its rules.

mod watcher;

pub(crate) use watcher::Watcher;

use ignore::overrides::{Override, OverrideBuilder};
use ignore::{DirEntry, WalkBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Never of interest, whatever `.gitignore` says: what builds and version control write, and what
/// editors leave beside a file for a moment. In the syntax of `.gitignore`.
const NEVER: &[&str] = &[
    ".git",
    ".hg",
    ".jj",
    ".svn",
    "target/",
    "node_modules/",
    "__pycache__/",
    "*~",
    ".*.sw?",
    ".#*",
    "#*#",
    "4913",
    ".DS_Store",
];

/// Why a project cannot be watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProjectError {
    #[error("--watch {path}: {source}")]
    Missing {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--ignore {glob}: {reason}; write it as in a .gitignore, such as '*.db' or 'logs/'")]
    Glob { glob: String, reason: String },
}

/// What tells a version of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    seconds: i64,
    nanos: i64,
}

/// What there was at one look.
#[derive(Debug, Default)]
struct Sight {
    files: BTreeMap<PathBuf, Stamp>,
    directories: BTreeSet<PathBuf>,
}

/// A project, as it was when it was last looked at.
#[derive(Debug)]
pub(crate) struct Project {
    roots: Vec<(PathBuf, Override)>,
    sight: Sight,
}

impl Project {
    /// Looks at what is under `roots` now; `ignored` are globs as in `.gitignore`, read from the
    /// working directory.
    ///
    /// # Errors
    /// A root that is not there, a glob that is none.
    pub(crate) fn open(roots: &[PathBuf], ignored: &[String]) -> Result<Self, ProjectError> {
        let mut known = Vec::new();
        for path in roots {
            let missing = |source| ProjectError::Missing {
                path: path.clone(),
                source,
            };
            let root = path.canonicalize().map_err(missing)?;
            let overrides = overrides(&root, ignored)?;
            known.push((root, overrides));
        }
        let mut project = Self {
            roots: known,
            sight: Sight::default(),
        };
        project.sight = project.look();
        Ok(project)
    }

    /// The directories in which something that counts may change.
    pub(crate) fn directories(&self) -> &BTreeSet<PathBuf> {
        &self.sight.directories
    }

    /// Looks again: the files that are new, gone or different.
    pub(crate) fn changes(&mut self) -> Vec<PathBuf> {
        let now = self.look();
        let before = std::mem::replace(&mut self.sight, now);
        let other = |path: &&PathBuf| before.files.get(*path) != self.sight.files.get(*path);
        let gone = before.files.keys();
        let all: BTreeSet<&PathBuf> = gone.chain(self.sight.files.keys()).filter(other).collect();
        all.into_iter().cloned().collect()
    }

    fn look(&self) -> Sight {
        let mut sight = Sight::default();
        for (root, overrides) in &self.roots {
            if root.is_file() {
                sight.directories.extend(root.parent().map(Path::to_owned));
            }
            let mut walk = WalkBuilder::new(root);
            walk.overrides(overrides.clone())
                .hidden(false)
                .require_git(false);
            // What cannot be read cannot be part of a build either.
            for entry in walk.build().flatten() {
                sight.add(&entry);
            }
        }
        sight
    }
}

impl Sight {
    fn add(&mut self, entry: &DirEntry) {
        let path = entry.path().to_owned();
        let Ok(found) = entry.metadata() else { return };
        if found.is_dir() {
            self.directories.insert(path);
            return;
        }
        let stamp = Stamp {
            inode: found.ino(),
            length: found.size(),
            seconds: found.mtime(),
            nanos: found.mtime_nsec(),
        };
        self.files.insert(path, stamp);
    }
}

/// What is left out below `root`. In overrides an exclamation mark is what it is not in `.gitignore`.
fn overrides(root: &Path, ignored: &[String]) -> Result<Override, ProjectError> {
    let mut builder = OverrideBuilder::new(root);
    let target = build_directory(root);
    let globs = NEVER.iter().copied().map(str::to_owned);
    for glob in globs.chain(target).chain(ignored.iter().cloned()) {
        let wrong = |error: ignore::Error| ProjectError::Glob {
            glob: glob.clone(),
            reason: match error {
                ignore::Error::Glob { err, .. } => err,
                other => other.to_string(),
            },
        };
        builder.add(&format!("!{glob}")).map_err(wrong)?;
    }
    builder.build().map_err(|error| ProjectError::Glob {
        glob: ignored.join(" "),
        reason: error.to_string(),
    })
}

/// Where cargo was told to build, if that is inside.
fn build_directory(root: &Path) -> Option<String> {
    let chosen = PathBuf::from(std::env::var_os("CARGO_TARGET_DIR")?);
    let inside = std::path::absolute(chosen).ok()?;
    let inside = inside.strip_prefix(root).ok()?.to_str()?;
    (!inside.is_empty()).then(|| format!("/{inside}/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn written(dir: &Path, files: &[&str]) {
        for file in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }

    fn changed(project: &mut Project, dir: &Path) -> Vec<String> {
        let name = |path: PathBuf| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        project.changes().into_iter().map(name).collect()
    }

    #[test]
    fn only_what_counts_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        written(&root, &["src/main.rs", "Cargo.toml", "sub/.gitignore"]);
        fs::write(root.join(".gitignore"), "out/\n*.log\n").unwrap();
        fs::write(root.join("sub/.gitignore"), "made.rs\n").unwrap();
        let mut project = Project::open(std::slice::from_ref(&root), &["*.db".to_owned()]).unwrap();
        assert_eq!(changed(&mut project, &root), [""; 0]);

        let ignored = [
            "target/debug/x",
            "out/x",
            "sub/a.log",
            "sub/made.rs",
            "x.db",
            ".git/HEAD",
            "src/.main.rs.swp",
            "src/main.rs~",
            "src/4913",
            "node_modules/m/i.js",
        ];
        written(&root, &ignored);
        assert_eq!(changed(&mut project, &root), [""; 0]);
        let inside = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_path_buf();
        let directories: Vec<PathBuf> = project.directories().iter().map(inside).collect();
        assert_eq!(directories, ["", "src", "sub"].map(PathBuf::from));

        written(&root, &["src/new/mod.rs", ".env"]);
        fs::remove_file(root.join("Cargo.toml")).unwrap();
        // As editors do it: the content may even be the same.
        fs::write(root.join("src/next"), "src/main.rs").unwrap();
        fs::rename(root.join("src/next"), root.join("src/main.rs")).unwrap();
        let expected = [".env", "Cargo.toml", "src/main.rs", "src/new/mod.rs"];
        assert_eq!(changed(&mut project, &root), expected);
        assert_eq!(changed(&mut project, &root), [""; 0]);
    }

    #[test]
    fn a_single_file_can_be_watched_and_survives_being_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        written(&root, &["a.toml", "b.toml"]);
        let mut project = Project::open(&[root.join("a.toml")], &[]).unwrap();
        assert_eq!(project.directories().iter().collect::<Vec<_>>(), [&root]);
        written(&root, &["b.toml"]);
        fs::write(root.join("next"), "more").unwrap();
        fs::rename(root.join("next"), root.join("a.toml")).unwrap();
        assert_eq!(changed(&mut project, &root), ["a.toml"]);
    }

    #[test]
    fn what_cannot_be_watched_is_named() {
        let missing = Project::open(&["/nowhere/at/all".into()], &[]).unwrap_err();
        assert!(missing.to_string().starts_with("--watch /nowhere/at/all: "));
        let wrong = Project::open(&[".".into()], &["a[".to_owned()]).unwrap_err();
        assert!(wrong.to_string().starts_with("--ignore a[: "), "{wrong}");
    }
}
