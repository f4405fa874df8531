//! Whether a candidate can run at all, found out before anything is started.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use handover_proto::manifest::ListenerEntry;
use object::Endianness;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use serde::{Deserialize, Serialize};

use super::config::ListenerSpec;

/// How much of a file is read to know its format: program headers and interpreter stand at the
/// front of every executable that linkers write.
const HEAD: u64 = 64 * 1024;

/// How long a test command may take; `nginx -t` and its like take milliseconds.
pub const TEST_WITHIN: Duration = Duration::from_secs(60);

/// Why a candidate cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// It does not exist.
    #[error("{program}: no such file{hint}")]
    NotFound {
        /// As it was given.
        program: String,
        /// Where it was looked for.
        hint: String,
    },
    /// It is a directory or something else.
    #[error("{}: not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Its mode forbids it.
    #[error("{}: not executable (mode {mode:04o}); `chmod +x` it", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Neither a program nor a script.
    #[error("{}: neither an ELF program nor a script that begins with #!", path.display())]
    WrongFormat {
        /// The file.
        path: PathBuf,
    },
    /// Built for other hardware.
    #[error("{}: built for {found}, this machine is {expected}", path.display())]
    WrongArchitecture {
        /// The file.
        path: PathBuf,
        /// This machine.
        expected: String,
        /// The file's.
        found: String,
    },
    /// What would run it is missing.
    #[error("{}: needs {}, which does not exist", path.display(), interpreter.display())]
    MissingInterpreter {
        /// The file.
        path: PathBuf,
        /// The program loader or script interpreter it names.
        interpreter: PathBuf,
    },
    /// The configured test refused it.
    #[error("test command `{command}` {ended}{output}")]
    TestFailed {
        /// The command.
        command: String,
        /// How it ended.
        ended: String,
        /// Its last lines, each on a line of its own.
        output: String,
    },
    /// It cannot be examined.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What kind of program a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// An ELF program for this machine.
    Elf {
        /// `x86-64` and such.
        architecture: String,
        /// Its loader, if it is dynamically linked.
        interpreter: Option<PathBuf>,
    },
    /// A script.
    Script {
        /// Its interpreter.
        interpreter: PathBuf,
    },
}

/// One line of a [`CheckReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// The answer of `handover check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Whether an upgrade to the candidate would be begun.
    pub ok: bool,
    /// One line a question, in the order they are asked; later ones are missing where an earlier
    /// one makes them pointless.
    pub findings: Vec<Finding>,
}

impl CheckReport {
    /// Adds a line.
    pub fn push(&mut self, name: &str, ok: bool, detail: impl Into<String>) {
        self.ok &= ok;
        self.findings.push(Finding {
            name: name.into(),
            ok,
            detail: detail.into(),
        });
    }
}

/// Finds out what a file is and whether it can run here.
///
/// # Errors
/// The first thing that forbids it. Nothing is executed.
pub fn inspect(path: &Path) -> Result<Format, PreflightError> {
    let io = |source| PreflightError::Io {
        path: path.into(),
        source,
    };
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let program = path.display().to_string();
            return Err(PreflightError::NotFound {
                program,
                hint: String::new(),
            });
        }
        Err(error) => return Err(io(error)),
    };
    if !found.is_file() {
        return Err(PreflightError::NotAFile { path: path.into() });
    }
    let mode = found.permissions().mode() & 0o7777;
    if rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_err() {
        return Err(PreflightError::NotExecutable {
            path: path.into(),
            mode,
        });
    }
    let mut head = Vec::new();
    let file = match fs::File::open(path) {
        Ok(file) => file,
        // Executable but not readable: the kernel will know.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Format::Elf {
                architecture: "unreadable".into(),
                interpreter: None,
            });
        }
        Err(error) => return Err(io(error)),
    };
    file.take(HEAD).read_to_end(&mut head).map_err(io)?;
    let format = read_format(path, &head)?;
    let interpreter = match &format {
        Format::Elf { interpreter, .. } => interpreter.as_ref(),
        Format::Script { interpreter } => Some(interpreter),
    };
    match interpreter {
        Some(missing) if !missing.exists() => Err(PreflightError::MissingInterpreter {
            path: path.into(),
            interpreter: missing.clone(),
        }),
        _ => Ok(format),
    }
}

fn read_format(path: &Path, head: &[u8]) -> Result<Format, PreflightError> {
    let wrong = || PreflightError::WrongFormat { path: path.into() };
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let interpreter = line.split_whitespace().next().ok_or_else(wrong)?;
        return Ok(Format::Script {
            interpreter: interpreter.into(),
        });
    }
    let (machine, interpreter) = elf_facts(head).ok_or_else(wrong)?;
    let host = host_machine();
    let runs = machine == host || (host == elf::EM_X86_64 && machine == elf::EM_386);
    if !runs {
        return Err(PreflightError::WrongArchitecture {
            path: path.into(),
            expected: machine_name(host),
            found: machine_name(machine),
        });
    }
    Ok(Format::Elf {
        architecture: machine_name(machine),
        interpreter,
    })
}

/// Machine and program loader of an ELF file.
fn elf_facts(head: &[u8]) -> Option<(u16, Option<PathBuf>)> {
    fn facts<H: FileHeader<Endian = Endianness>>(head: &[u8]) -> Option<(u16, Option<PathBuf>)> {
        let header = H::parse(head).ok()?;
        let endian = header.endian().ok()?;
        let machine = header.e_machine(endian);
        let segments = header.program_headers(endian, head).unwrap_or_default();
        let interpreter = segments
            .iter()
            .find_map(|segment| segment.interpreter(endian, head).ok().flatten())
            .map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned()));
        Some((machine, interpreter))
    }
    facts::<elf::FileHeader64<Endianness>>(head)
        .or_else(|| facts::<elf::FileHeader32<Endianness>>(head))
}

/// The machine this very program was built for, which therefore runs here.
fn host_machine() -> u16 {
    match std::env::consts::ARCH {
        "x86_64" => elf::EM_X86_64,
        "x86" => elf::EM_386,
        "aarch64" => elf::EM_AARCH64,
        "arm" => elf::EM_ARM,
        "riscv64" => elf::EM_RISCV,
        "powerpc64" => elf::EM_PPC64,
        "s390x" => elf::EM_S390,
        "loongarch64" => elf::EM_LOONGARCH,
        _ => elf::EM_NONE,
    }
}

fn machine_name(machine: u16) -> String {
    match machine {
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_386 => "x86".into(),
        elf::EM_AARCH64 => "aarch64".into(),
        elf::EM_ARM => "arm".into(),
        elf::EM_RISCV => "risc-v".into(),
        elf::EM_PPC64 => "ppc64".into(),
        elf::EM_S390 => "s390x".into(),
        elf::EM_LOONGARCH => "loongarch".into(),
        other => format!("ELF machine {other}"),
    }
}

/// Examines a program for people. `running` and `wanted` are the listeners now and then; `wanted`
/// absent means unchanged.
#[must_use]
pub fn check(
    path: &Path,
    running: &[ListenerEntry],
    wanted: Option<&[ListenerSpec]>,
) -> CheckReport {
    let mut report = CheckReport {
        ok: true,
        findings: Vec::new(),
    };
    let name = path.display().to_string();
    match inspect(path) {
        Ok(format) => {
            report.push("exists", true, &name);
            report.push("executable", true, "yes");
            let detail = match format {
                Format::Elf {
                    architecture,
                    interpreter: Some(loader),
                } => {
                    format!("ELF {architecture}, loader {}", loader.display())
                }
                Format::Elf {
                    architecture,
                    interpreter: None,
                } => {
                    format!("ELF {architecture}, static")
                }
                Format::Script { interpreter } => format!("script for {}", interpreter.display()),
            };
            report.push("format", true, detail);
        }
        Err(error @ PreflightError::NotFound { .. }) => {
            report.push("exists", false, error.to_string());
        }
        Err(error @ (PreflightError::NotAFile { .. } | PreflightError::NotExecutable { .. })) => {
            report.push("exists", true, &name);
            report.push("executable", false, error.to_string());
        }
        Err(error) => {
            report.push("exists", true, &name);
            report.push("executable", true, "yes");
            report.push("format", false, error.to_string());
        }
    }
    listener_diff(&mut report, running, wanted);
    report
}

fn listener_diff(
    report: &mut CheckReport,
    running: &[ListenerEntry],
    wanted: Option<&[ListenerSpec]>,
) {
    let Some(wanted) = wanted else {
        report.push("listeners", true, format!("unchanged ({})", running.len()));
        return;
    };
    let mut changes = Vec::new();
    for spec in wanted {
        match running.iter().find(|entry| entry.name == spec.name) {
            None => changes.push(format!("+{spec}")),
            Some(entry) if entry.kind != spec.kind || entry.address != spec.address => {
                changes.push(format!(
                    "{}: {} → {}",
                    spec.name, entry.address, spec.address
                ));
            }
            Some(_) => {}
        }
    }
    for entry in running {
        if !wanted.iter().any(|spec| spec.name == entry.name) {
            changes.push(format!("-{}", entry.name));
        }
    }
    let detail = if changes.is_empty() {
        "unchanged".into()
    } else {
        changes.join(", ")
    };
    report.push("listeners", true, detail);
}

/// Runs the configured test of a candidate. Cancel-safe: the command is then killed.
///
/// # Errors
/// It ended with anything but 0, or not in time.
pub async fn run_test(command: &str, candidate: &Path) -> Result<(), PreflightError> {
    let env = [(
        "HANDOVER_CANDIDATE".into(),
        candidate.as_os_str().to_owned(),
    )];
    let failed = |ended: String, output: String| PreflightError::TestFailed {
        command: command.into(),
        ended,
        output,
    };
    match super::shell::run(command, env, TEST_WITHIN).await {
        Ok(done) if done.exit.is_some_and(handover_sys::Exit::is_success) => Ok(()),
        Ok(done) => {
            let ended = match done.exit {
                Some(exit) => exit.to_string(),
                None => format!("was not done after {TEST_WITHIN:?}"),
            };
            let output: String = done
                .last_lines
                .iter()
                .map(|line| format!("\n    {line}"))
                .collect();
            Err(failed(ended, output))
        }
        Err(error) => Err(failed(format!("could not be run: {error}"), String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_can_run_and_a_foreign_one_cannot() {
        let own = std::env::current_exe().expect("a path");
        assert!(matches!(inspect(&own), Ok(Format::Elf { .. })));

        let dir = tempfile::tempdir().expect("a directory");
        let foreign = dir.path().join("foreign");
        let mut image = fs::read(&own).expect("reads");
        image.truncate(4096);
        image[18] = elf::EM_SPARC as u8;
        image[19] = 0;
        fs::write(&foreign, image).expect("writes");
        assert!(matches!(
            inspect(&foreign),
            Err(PreflightError::NotExecutable { .. })
        ));
        fs::set_permissions(&foreign, fs::Permissions::from_mode(0o755)).expect("chmod");
        assert!(matches!(
            inspect(&foreign),
            Err(PreflightError::WrongArchitecture { .. })
        ));
    }

    #[test]
    fn scripts_need_their_interpreter() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = dir.path().join("script");
        let write = |text: &str| {
            fs::write(&script, text).expect("writes");
            fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("chmod");
            inspect(&script)
        };
        assert!(matches!(write("#!/bin/sh\n"), Ok(Format::Script { .. })));
        assert!(matches!(
            write("#!/no/such\n"),
            Err(PreflightError::MissingInterpreter { .. })
        ));
        assert!(matches!(
            write("echo hello\n"),
            Err(PreflightError::WrongFormat { .. })
        ));
        assert!(matches!(
            inspect(dir.path()),
            Err(PreflightError::NotAFile { .. })
        ));
    }
}
