//! What stands in the way of handovers on this machine, and what to do about it. Looks only;
//! leaves nothing changed.

mod compose;
#[cfg(feature = "container")]
mod container;
mod kernel;
mod process;
mod told;
mod unit;

pub use compose::{Composed, Mount};
#[cfg(feature = "container")]
pub use container::Contained;

use std::fs::File;
use std::path::{Path, PathBuf};

use handover_sys::filesystem;
use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, with a limit that the fix removes.
    Note,
    /// Handovers, or the recovery from a crash, will fail.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub found: String,
    /// What to do; empty if nothing is to be done.
    pub fix: String,
}

impl Finding {
    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            verdict: Verdict::Ok,
            found: found.into(),
            fix: String::new(),
        }
    }

    fn note(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Note,
            fix: fix.into(),
            ..Self::ok(check, found)
        }
    }

    fn bad(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Bad,
            ..Self::note(check, found, fix)
        }
    }
}

/// What to look at besides the machine itself.
#[derive(Clone, Debug, Default)]
pub struct Patient {
    /// A unit's name, as `systemctl show` takes it, or the path of a unit file.
    pub unit: Option<String>,
    /// A process: a server, or a supervisor.
    pub pid: Option<u32>,
    /// A data directory.
    pub data: Option<PathBuf>,
    /// This container.
    #[cfg(feature = "container")]
    pub container: Option<Contained>,
    /// A service of a compose file.
    pub composed: Option<Composed>,
    /// Where services keep their runtime directories.
    pub root: PathBuf,
}

/// Looks at everything. Takes as long as `systemctl show`, and as the filesystem of the data.
#[must_use]
pub fn examine(patient: &Patient) -> Vec<Finding> {
    let mut findings = kernel::examine();
    findings.push(runtime_directory(&patient.root));
    let mut pid = patient.pid;
    if let Some(unit) = &patient.unit {
        let (found, main) = unit::examine(unit);
        findings.extend(found);
        pid = pid.or(main);
    }
    if let Some(pid) = pid {
        findings.extend(process::examine(pid));
    }
    if let Some(data) = &patient.data {
        findings.push(data_directory(data));
    }
    #[cfg(feature = "container")]
    if let Some(contained) = &patient.container {
        findings.extend(container::examine(contained));
    }
    if let Some(service) = &patient.composed {
        findings.extend(compose::examine(service));
    }
    findings
}

fn runtime_directory(root: &Path) -> Finding {
    const CHECK: &str = "runtime directory";
    let shown = root.display().to_string();
    // Of one that is not there yet, the nearest place where it would be made.
    let Some(there) = root.ancestors().find(|place| place.exists()) else {
        return Finding::bad(CHECK, shown, "set HANDOVER_RUNTIME_DIR to a directory");
    };
    let writable = rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_ok();
    let fix = "set HANDOVER_RUNTIME_DIR to a directory of the service's user; in a unit, \
               RuntimeDirectory= makes one";
    if !writable {
        return Finding::bad(CHECK, format!("{shown} cannot be written"), fix);
    }
    if there == root {
        use std::os::unix::fs::MetadataExt;
        let owner = std::fs::metadata(root).map(|found| found.uid());
        let own = rustix::process::geteuid().as_raw();
        if let Ok(owner) = owner
            && owner != own
        {
            let found = format!("{shown} belongs to user {owner}, this is user {own}");
            return Finding::bad(CHECK, found, fix);
        }
    }
    Finding::ok(CHECK, shown)
}

fn data_directory(data: &Path) -> Finding {
    const CHECK: &str = "data directory";
    let shown = data.display();
    let kind = File::open(data).and_then(|directory| {
        let is_directory = directory.metadata()?.is_dir();
        if !is_directory {
            return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
        }
        filesystem::of(&directory)
    });
    match kind {
        Err(error) => Finding::bad(
            CHECK,
            format!("{shown}: {error}"),
            "make it, owned by the service's user",
        ),
        Ok(kind) if !kind.locks_exclude() => Finding::bad(
            CHECK,
            format!("{shown} is on {kind}, whose locks may not keep two owners apart"),
            "move it to a filesystem of this machine (ext4, xfs, btrfs)",
        ),
        Ok(_) if rustix::fs::access(data, rustix::fs::Access::WRITE_OK).is_err() => Finding::bad(
            CHECK,
            format!("{shown} cannot be written by this user"),
            "run this as the service's user, or change the owner",
        ),
        Ok(kind) => Finding::ok(CHECK, format!("{shown} on {kind}")),
    }
}
