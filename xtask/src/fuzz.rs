//! The fuzz targets: built and run on a stable toolchain, without any tool of their own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Failure, Steps, capture, command, root, target};

const MANIFEST: &str = "fuzz/Cargo.toml";

/// What `cargo fuzz` sets, but for a sanitizer, which needs a nightly compiler: edge counters and
/// compared values guide libFuzzer. `fuzzing` opens decoders that are not public.
const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Inputs for each target in a smoke run: seconds in all, and more than it takes to find again
/// whatever a mutated seed breaks.
const SMOKE: u64 = 50_000;

/// A decoder that takes longer for one input hangs.
const HANGS_AFTER: &str = "-timeout=10";

/// How long to look.
#[derive(Clone, Copy)]
enum Limit {
    /// So many inputs, from the seeds alone and the same ones each time.
    Runs(u64),
    /// So many seconds for each target, going on from what earlier runs found.
    Seconds(u64),
}

/// `fuzz [TARGET …] [--runs N | --seconds S]`. Without a target, all of them.
pub(crate) fn run(steps: &mut Steps, words: &[&str]) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    let mut limit = Limit::Runs(SMOKE);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|word| word.parse().ok());
            number.ok_or_else(|| Failure::new(*word, "needs a number"))
        };
        match *word {
            "--runs" => limit = Limit::Runs(number()?),
            "--seconds" => limit = Limit::Seconds(number()?),
            name => wanted.push(name),
        }
    }
    let all = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|t| t == *name)) {
        let there = format!("no such target; there are {}", all.join(", "));
        return Err(Failure::new(*unknown, there));
    }
    let programs = build(steps)?;
    for name in &all {
        if wanted.is_empty() || wanted.contains(&name.as_str()) {
            let outcome = fuzz(steps, &programs, name, limit);
            steps.keep_going(outcome);
        }
    }
    Ok(())
}

/// Names of all targets.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = root().join("fuzz/fuzz_targets");
    let unreadable = |error| Failure::new(folder.display().to_string(), format!("{error}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_stem().map(OsStr::to_string_lossy);
        names.extend(name.map(|name| name.into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Where the programs are.
fn build(steps: &mut Steps) -> Result<PathBuf, Failure> {
    let host = host()?;
    let folder = target().join("fuzz");
    steps.cargo("build fuzz targets", |cargo| {
        // Named, so that the flags are not for build scripts and macros as well.
        let host = ["--target", &host];
        let manifest = ["--manifest-path", MANIFEST];
        cargo
            .env("RUSTFLAGS", RUSTFLAGS)
            .env("CARGO_TARGET_DIR", &folder);
        cargo.args(["build", "--release"]).args(manifest).args(host)
    })?;
    Ok(folder.join(host).join("release"))
}

fn host() -> Result<String, Failure> {
    let mut rustc = command(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.arg("-vV");
    let output = capture(rustc)?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = words.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV", "names no host"))
}

fn fuzz(steps: &mut Steps, programs: &Path, name: &str, limit: Limit) -> Result<(), Failure> {
    let folder = |path: PathBuf| -> Result<PathBuf, Failure> {
        let failed = |error| Failure::new(path.display().to_string(), format!("{error}"));
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(path)
    };
    let seeds = folder(target().join("fuzz/seeds").join(name))?;
    let found = folder(root().join("fuzz/artifacts").join(name))?;
    let program = programs.join(name);
    let mut sow = command(&program);
    sow.env("HANDOVER_FUZZ_SEEDS", &seeds);
    if !capture(sow)?.status.success() {
        return Err(Failure::new(name, "cannot write its seeds"));
    }
    let mut fuzz = command(&program);
    match limit {
        Limit::Runs(runs) => {
            fuzz.arg(format!("-runs={runs}")).arg("-seed=1");
        }
        Limit::Seconds(seconds) => {
            fuzz.arg(format!("-max_total_time={seconds}"));
            // What is found is kept in the first folder.
            fuzz.arg(folder(root().join("fuzz/corpus").join(name))?);
        }
    }
    let mut found = found.into_os_string();
    found.push("/");
    fuzz.arg(HANGS_AFTER).arg("-print_final_stats=1");
    fuzz.arg(joined("-artifact_prefix=", &found));
    if matches!(limit, Limit::Seconds(_)) {
        fuzz.arg(&seeds);
        return steps.quiet(&format!("fuzz {name}"), fuzz, summary);
    }
    // A copy: libFuzzer adds to what it is given, and the next run is to begin where this one did.
    let scratch = folder(target().join("fuzz/scratch").join(name))?;
    let failed = |error| Failure::new(scratch.display().to_string(), format!("{error}"));
    fs::remove_dir_all(&scratch).map_err(failed)?;
    fs::create_dir_all(&scratch).map_err(failed)?;
    fuzz.arg(&scratch).arg(&seeds);
    steps.quiet(&format!("fuzz {name}"), fuzz, summary)
}

fn joined(option: &str, value: &OsStr) -> std::ffi::OsString {
    let mut whole = std::ffi::OsString::from(option);
    whole.push(value);
    whole
}

/// Inputs and coverage, from what libFuzzer prints at the end.
fn summary(words: &str) -> String {
    let inputs = words
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .map_or("?", str::trim);
    let last = words.lines().rfind(|line| line.contains(" cov: "));
    let edges = last.and_then(|line| line.split(" cov: ").nth(1)?.split(' ').next());
    format!("{inputs} inputs, {} edges", edges.unwrap_or("?"))
}

/// Looks at the code of the targets, which `cargo fmt` of the workspace does not reach.
pub(crate) fn check(steps: &mut Steps) {
    let format = steps.cargo("format of fuzz", |cargo| {
        cargo.args(["fmt", "--check", "--manifest-path", MANIFEST])
    });
    steps.keep_going(format);
}

/// Makes a cargo-deny command look at the dependencies of the targets.
pub(crate) fn dependencies(deny: &mut Command) -> &mut Command {
    deny.args(["--manifest-path", MANIFEST, "--config", "deny.toml"])
}
