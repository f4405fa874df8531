//! Programs that need no file besides themselves, as an image `FROM scratch` has them: built as
//! `examples/container/Dockerfile` does.

use std::path::PathBuf;

use crate::steps::{Failure, Steps, capture, command, strict, target};

/// Names the directory of the programs to whoever runs them.
pub(crate) const VARIABLE: &str = "HANDOVER_TEST_SCRATCH";

/// Builds them, without optimisation: about two minutes the first time on two cores.
///
/// `None`, with a note, where the C library cannot be linked in; with `CI` set that is a failure.
pub(crate) fn build(steps: &mut Steps) -> Result<Option<PathBuf>, Failure> {
    match try_build(steps) {
        Ok(programs) => Ok(Some(programs)),
        Err(failure) if strict() => Err(failure),
        Err(failure) => {
            steps.note(&format!(
                "tests with static programs will be skipped: {failure}"
            ));
            Ok(None)
        }
    }
}

fn try_build(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let triple = host()?;
    // Its own, so that other flags do not make the rest be built again.
    let directory = target().join("scratch");
    steps.cargo("static programs", |cargo| {
        cargo
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .args(["build", "--package", "handover-cli"])
            .args(["--package", "example-container"])
            .args(["--target", &triple, "--target-dir"])
            .arg(&directory)
    })?;
    Ok(directory.join(triple).join("debug"))
}

/// What this machine builds for when nothing is said. Named, so that what runs while building is
/// not built with the flags.
fn host() -> Result<String, Failure> {
    let mut rustc = command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("-vV");
    let said = capture(rustc)?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV", "names no host"))
}
