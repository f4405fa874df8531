//! Licences, bans and sources of all dependencies, by cargo-deny.

use std::path::{Path, PathBuf};

use crate::fuzz;
use crate::steps::{Failure, Steps, capture, cargo, command, target};

/// The series `deny.toml` is written for; its keys change between series.
const SERIES: &str = "0.20.";
/// What is installed when none of that series is there.
const VERSION: &str = "0.20.2";

/// Checks the dependencies. Advisories are checked only when their database can be fetched, and
/// it is said when they are not: they live outside the package registry, which is all that
/// continuous integration is sure to reach.
pub(crate) fn run(steps: &mut Steps) -> Result<(), Failure> {
    let program = installed(steps)?;
    let deny = |arguments: &[&str]| {
        let mut command = command(&program);
        command.args(["--locked", "--workspace"]).args(arguments);
        command
    };
    let policy = steps.command("deny", deny(&["check", "licenses", "bans", "sources"]));
    let mut of_fuzz = command(&program);
    fuzz::dependencies(&mut of_fuzz).args(["check", "licenses", "bans", "sources"]);
    let of_fuzz = steps.command("deny for fuzz", of_fuzz);
    let policy = policy.and(of_fuzz);
    let mut fetch = deny(&["fetch", "db"]);
    // A database that asks for a password is a database that cannot be reached.
    fetch.env("GIT_TERMINAL_PROMPT", "0");
    let fetched = capture(fetch)?;
    if !fetched.status.success() {
        steps.note("ADVISORIES NOT CHECKED: their database cannot be reached from here");
        return policy;
    }
    let advisories = deny(&["check", "--disable-fetch", "advisories"]);
    let advisories = steps.command("advisories", advisories);
    policy.and(advisories)
}

fn installed(steps: &mut Steps) -> Result<PathBuf, Failure> {
    // Beside our own artefacts: a check must not replace a tool in anybody's home.
    let tools = target().join("tools");
    let own = tools.join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        if fits(&candidate) {
            return Ok(candidate);
        }
    }
    let mut install = cargo();
    install.args(["install", "--locked", "--root"]).arg(&tools);
    // A target directory of its own would be built in and thrown away.
    install
        .arg("--target-dir")
        .arg(target().join("tools/build"));
    install.arg(format!("cargo-deny@{VERSION}"));
    steps.command("install cargo-deny", install)?;
    if fits(&own) {
        return Ok(own);
    }
    Err(Failure::new(
        own.display().to_string(),
        format!("was installed and is not {SERIES}x"),
    ))
}

fn fits(program: &Path) -> bool {
    let mut version = command(program);
    version.arg("--version");
    let Ok(output) = capture(version) else {
        return false;
    };
    let words = String::from_utf8_lossy(&output.stdout);
    words
        .split_whitespace()
        .any(|word| word.starts_with(SERIES))
}
