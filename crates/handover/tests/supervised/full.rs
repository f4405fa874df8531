//! A journal without room, on a filesystem that is really full.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use handover_proto::outcome::{Cause, Outcome};

use crate::stage::Stage;
use crate::{committed, held};

/// Runs the test below with a small filesystem of its own in place of the temporary directory.
#[test]
fn i5_a_full_disk_ends_the_attempt_and_the_next_one_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("a path");
    let mounted = "mount -t tmpfs -o size=2m none \"$TMPDIR\" && exec \"$0\" \"$@\"";
    // A user who is not root is one in a namespace of its own.
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", mounted])
        .arg(own)
        .args(["--ignored", "--exact", "full::inside", "--nocapture"])
        .env("TMPDIR", dir.path())
        .env(INSIDE, "1")
        .output();
    let (ran, said) = match &tried {
        Ok(output) => (
            String::from_utf8_lossy(&output.stdout).contains("running 1 test"),
            format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
        ),
        Err(error) => (false, error.to_string()),
    };
    if !ran && std::env::var_os("CI").is_none() {
        eprintln!("skipped: no filesystem can be mounted here: {said}");
        return;
    }
    assert!(tried.is_ok_and(|output| output.status.success()), "{said}");
}

const INSIDE: &str = "FULL_INSIDE";

#[test]
#[ignore = "what the other test starts"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let stage = Stage::start(|_| {});
    let filler = stage.dir.path().join("filler");
    fill(&filler);
    // A record with these arguments needs more pages than the ones that are there.
    let long = ["x".repeat(30_000)];
    let outcome = stage.upgrade_with(None, &long);
    let Outcome::RolledBack {
        cause: Cause::JournalFailed { reason },
    } = &outcome
    else {
        panic!("{outcome}")
    };
    assert!(reason.contains("No space left on device"), "{reason}");
    let status = stage.status();
    assert_eq!(status.lease, held(1, 1));
    assert!(status.why.contains("journal"), "{}", status.why);

    fs::remove_file(&filler).expect("removes");
    committed(&stage.upgrade_with(None, &long));
    assert_eq!(stage.status().lease, held(3, 2));
}

/// Writes until there is no room for another byte.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for piece in [64 * 1024, 4096, 1] {
        let bytes = vec![0; piece];
        while file.write_all(&bytes).is_ok() {}
    }
}
