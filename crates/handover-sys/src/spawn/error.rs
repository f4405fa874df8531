//! Why a program did not start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a program did not start. No process is left behind, whatever the variant.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no such file.
    #[error("there is no program {}; check the path", path.display())]
    NotFound {
        /// The program.
        path: PathBuf,
    },
    /// No directory of `PATH` holds it.
    #[error("there is no program {name:?} in {searched}; install it, give its path, or set PATH")]
    NotOnPath {
        /// The name looked for.
        name: String,
        /// The directories searched, separated by colons.
        searched: String,
    },
    /// The file is there but may not be executed.
    #[error(
        "{} may not be executed ({found}); make it executable (chmod +x) or check its mount",
        path.display()
    )]
    NotExecutable {
        /// The program.
        path: PathBuf,
        /// What was found: its mode, or what else it is.
        found: String,
    },
    /// The kernel does not know how to run the file.
    #[error(
        "{} is {found}, which this machine ({}) cannot run; \
         build it for this machine, or begin a script with #!",
        path.display(),
        std::env::consts::ARCH
    )]
    WrongFormat {
        /// The program.
        path: PathBuf,
        /// What the file looks like.
        found: String,
    },
    /// The file exists, but the interpreter or loader it names does not.
    #[error(
        "{} needs {}, which does not exist; install it or correct the file",
        path.display(),
        .interpreter.as_deref().unwrap_or("an interpreter or loader")
    )]
    MissingInterpreter {
        /// The program.
        path: PathBuf,
        /// The interpreter (`#!` line) or loader (ELF) it asks for, where that can be read.
        interpreter: Option<String>,
    },
    /// A script was pinned. Its interpreter would have to open it through a descriptor that is
    /// closed by then.
    #[error(
        "{} is a script and cannot be started from a pinned descriptor; start it by its path",
        path.display()
    )]
    PinnedScript {
        /// The program.
        path: PathBuf,
    },
    /// Somebody has the file open for writing.
    #[error(
        "{} is being written to; replace programs by renaming a finished file over them",
        path.display()
    )]
    TextBusy {
        /// The program.
        path: PathBuf,
    },
    /// Arguments and environment exceed the kernel's limit.
    #[error(
        "arguments and environment of {} are too large ({found} bytes); shorten them",
        path.display()
    )]
    TooBig {
        /// The program.
        path: PathBuf,
        /// Their size together, in bytes.
        found: usize,
    },
    /// A path or an argument holds a NUL byte.
    #[error("{what} of {} holds a NUL byte, which no program can receive", path.display())]
    ContainsNul {
        /// The program.
        path: PathBuf,
        /// Which one.
        what: String,
    },
    /// A variable holds a NUL byte, or its name is empty or holds `=`.
    #[error("the environment variable {variable:?} of {} {problem}; remove it", path.display())]
    BadEnvironment {
        /// The program.
        path: PathBuf,
        /// The variable's name.
        variable: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// More descriptors than the map may hold.
    #[error("{found} descriptors for {}, at most {limit} can be passed on", path.display())]
    TooManyDescriptors {
        /// The program.
        path: PathBuf,
        /// The limit.
        limit: usize,
        /// How many there were.
        found: usize,
    },
    /// The working directory cannot be entered.
    #[error("{} cannot start in {}: {source}", path.display(), directory.display())]
    Directory {
        /// The program.
        path: PathBuf,
        /// The working directory asked for.
        directory: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel made no new process.
    #[error("no process could be made for {}: {source}", path.display())]
    Clone {
        /// The program.
        path: PathBuf,
        /// The kernel's reason: `EAGAIN` is a limit on processes, `ENOMEM` on memory.
        source: io::Error,
    },
    /// The descriptors could not be put in place.
    #[error(
        "the descriptors for {} could not be arranged: {source}; raise ulimit -n if it is too low",
        path.display()
    )]
    Descriptor {
        /// The program.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// No process group could be made.
    #[error("{} could not get a process group of its own: {source}", path.display())]
    ProcessGroup {
        /// The program.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// `execve` failed for another reason.
    #[error("{} could not be executed: {source}", path.display())]
    Exec {
        /// The program.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}
