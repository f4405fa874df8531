//! Steps: each announced, timed, and summed up at the end, so that a log read from its last line
//! says what failed and how to run only that.

use std::fmt::{self, Write as _};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

/// Why a step did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was tried: the command line, or the step's name.
    tried: String,
    /// What came of it, and what to do next.
    found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.tried, self.found)
    }
}

impl Failure {
    pub(crate) fn new(tried: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            tried: tried.into(),
            found: found.into(),
        }
    }
}

/// The steps run so far.
pub(crate) struct Steps {
    done: Vec<(String, Duration, bool)>,
    failures: Vec<Failure>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self {
            done: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Runs a cargo command as a step of this name.
    pub(crate) fn cargo(
        &mut self,
        name: &str,
        build: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<(), Failure> {
        let mut command = cargo();
        build(&mut command);
        self.command(name, command)
    }

    /// Runs a command as a step of this name; its output goes where ours goes.
    pub(crate) fn command(&mut self, name: &str, mut command: Command) -> Result<(), Failure> {
        let line = line(&command);
        eprintln!("\n==> {name}: {line}");
        let begun = Instant::now();
        let outcome = match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(&line, status.to_string())),
            Err(error) => Err(could_not_start(&line, &error)),
        };
        self.done
            .push((name.to_owned(), begun.elapsed(), outcome.is_ok()));
        outcome
    }

    /// Runs a command whose words matter only when it fails, as a step of this name; otherwise says
    /// what `summary` makes of them.
    pub(crate) fn quiet(
        &mut self,
        name: &str,
        command: Command,
        summary: fn(&str) -> String,
    ) -> Result<(), Failure> {
        let line = line(&command);
        eprintln!("\n==> {name}: {line}");
        let begun = Instant::now();
        let output = capture(command)?;
        let words = String::from_utf8_lossy(&output.stderr);
        let succeeded = output.status.success();
        self.done
            .push((name.to_owned(), begun.elapsed(), succeeded));
        if succeeded {
            self.note(&summary(&words));
            return Ok(());
        }
        eprint!("{words}");
        Err(Failure::new(&line, output.status.to_string()))
    }

    /// Says something about the step under way.
    pub(crate) fn note(&self, text: &str) {
        eprintln!("    {text}");
    }

    /// Keeps a failure and lets later steps run: one run then shows all that is wrong.
    pub(crate) fn record(&mut self, failure: Failure) {
        eprintln!("xtask: {failure}");
        self.failures.push(failure);
    }

    /// Keeps the failure, if it is one.
    pub(crate) fn keep_going(&mut self, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.record(failure);
        }
    }

    /// Prints the summary and turns it into an exit code.
    pub(crate) fn finish(&self) -> ExitCode {
        let mut summary = String::new();
        for (name, took, succeeded) in &self.done {
            let verdict = if *succeeded { "ok" } else { "FAILED" };
            let _ = writeln!(
                summary,
                "  {verdict:<6} {:>7.1} s  {name}",
                took.as_secs_f64()
            );
        }
        eprint!("\n{summary}");
        if self.failures.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("\nfailed; to see one again, run its command:");
        for failure in &self.failures {
            eprintln!("  {}\n    {}", failure.tried, failure.found);
        }
        ExitCode::FAILURE
    }
}

/// The root of the work tree.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(target)
}

/// The cargo that runs us, in the root of the work tree.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A command in the root of the work tree, without standard input: nothing here may ask a
/// question.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command and keeps what it prints.
///
/// Fails only when it cannot be started; its exit status is in the output.
pub(crate) fn capture(mut command: Command) -> Result<Output, Failure> {
    command
        .output()
        .map_err(|error| could_not_start(&line(&command), &error))
}

/// Is this a run that must not skip anything?
pub(crate) fn strict() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy();
    let mut line = String::new();
    for (name, value) in command.get_envs() {
        if let (Some(name), Some(value)) = (name.to_str(), value) {
            let _ = write!(line, "{name}={} ", quoted(&value.to_string_lossy()));
        }
    }
    line.push_str(&program);
    for argument in command.get_args() {
        let _ = write!(line, " {}", quoted(&argument.to_string_lossy()));
    }
    line
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn could_not_start(line: &str, error: &io::Error) -> Failure {
    Failure::new(line, format!("could not be started: {error}"))
}
