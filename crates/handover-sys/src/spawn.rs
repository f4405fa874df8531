//! Starting a program without `fork`: the cost does not grow with the memory of the parent.
//!
//! `fork` copies the page tables of the parent, 40 to 100 ms for each GiB it holds, and
//! `std::process::Command` falls back to it as soon as a descriptor map or `pre_exec` is asked
//! for. Here the child is made with `clone(CLONE_VM | CLONE_VFORK)`, as the C library's
//! posix_spawn does, but with a descriptor map, a `LISTEN_PID` that is right, a pidfd from the
//! first moment, and errors that say what is wrong.

mod child;
mod error;
mod format;
mod plan;
mod search;
mod stack;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

pub use error::SpawnError;
pub use search::find_program;

use crate::claim::{self, Claim};
use crate::pidfd::Pidfd;
use child::Stage;
use format::Format;
use plan::Plan;

/// The number the first passed descriptor gets: `SD_LISTEN_FDS_START` of sd-daemon.h.
const FIRST_MAPPED: i32 = 3;

/// The most descriptors passed to one program: as many as the receiving side takes.
const MAX_MAPPED: usize = crate::inherited::MAX_INHERITED;

/// What to start.
#[derive(Clone, Debug)]
enum Source<'a> {
    Path(PathBuf),
    Descriptor(BorrowedFd<'a>, PathBuf),
}

/// A program to be started, and with what.
///
/// The program begins with default signal dispositions and an empty signal mask, in a session and
/// process group like ours unless asked otherwise, with standard input, output and error, the
/// descriptors given, and no other. (Before Linux 5.11 a descriptor that is not close-on-exec,
/// which only C code leaves that way, is inherited too.)
///
/// ```
/// use handover_sys::spawn::Spawn;
/// use handover_sys::Exit;
///
/// let child = Spawn::path("/bin/sh").args(["-c", "exit 3"]).spawn()?;
/// assert_eq!(child.pidfd.wait(None)?, Some(Exit::Code(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing starts before `spawn` is called"]
pub struct Spawn<'a> {
    source: Source<'a>,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    environment: Option<Vec<(OsString, OsString)>>,
    directory: Option<PathBuf>,
    descriptors: Vec<BorrowedFd<'a>>,
    standard: [Option<BorrowedFd<'a>>; 3],
    listen_pid: bool,
    process_group: bool,
    sibling: bool,
}

/// A program that was started.
///
/// Its status waits for `pidfd`; [`reap_orphans`](crate::reap::reap_orphans) leaves it alone as
/// long as that lives.
#[derive(Debug)]
pub struct Child {
    /// Its pid.
    pub pid: u32,
    /// The process itself.
    pub pidfd: Pidfd,
}

impl<'a> Spawn<'a> {
    /// The program at a path. A relative one is resolved against the current directory of *this*
    /// process, whatever [`Spawn::current_dir`] says; there is no search in `PATH`, for that see
    /// [`find_program`].
    pub fn path(program: impl Into<PathBuf>) -> Self {
        Self::new(Source::Path(program.into()))
    }

    /// The program behind a descriptor, such as one of [`pin`](crate::executable::pin): exactly
    /// that file, although its path may have been replaced. `shown_as` is its argument 0 and its
    /// name in errors. Scripts cannot be started this way ([`SpawnError::PinnedScript`]). Before
    /// Linux 6.14 `/proc/<pid>/comm` of such a program is a number.
    pub fn executable(fd: BorrowedFd<'a>, shown_as: impl Into<PathBuf>) -> Self {
        Self::new(Source::Descriptor(fd, shown_as.into()))
    }

    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            arg0: None,
            args: Vec::new(),
            environment: None,
            directory: None,
            descriptors: Vec::new(),
            standard: [None; 3],
            listen_pid: false,
            process_group: false,
            sibling: false,
        }
    }

    /// What the program sees as its own name; by default the path as given.
    pub fn arg0(mut self, name: impl Into<OsString>) -> Self {
        self.arg0 = Some(name.into());
        self
    }

    /// The arguments after the name; replaces those given before.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// The complete environment; nothing of ours is added. By default a copy of ours.
    pub fn env(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = Some(variables.into_iter().collect());
        self
    }

    /// The working directory; by default ours.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The descriptors that arrive as 3, 4, 5, … in this order; replaces those given before. They
    /// are duplicated, ours stay as they are, whatever their numbers; one may be given twice.
    pub fn descriptors(mut self, descriptors: Vec<BorrowedFd<'a>>) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Standard input; by default ours.
    pub fn stdin(mut self, fd: BorrowedFd<'a>) -> Self {
        self.standard[0] = Some(fd);
        self
    }

    /// Standard output; by default ours.
    pub fn stdout(mut self, fd: BorrowedFd<'a>) -> Self {
        self.standard[1] = Some(fd);
        self
    }

    /// Standard error; by default ours.
    pub fn stderr(mut self, fd: BorrowedFd<'a>) -> Self {
        self.standard[2] = Some(fd);
        self
    }

    /// Sets `LISTEN_PID` to the pid of the new process, which only the new process knows in time.
    /// Replaces a `LISTEN_PID` of the environment. `LISTEN_FDS` and `LISTEN_FDNAMES` are the
    /// caller's.
    pub fn listen_pid(mut self) -> Self {
        self.listen_pid = true;
        self
    }

    /// Puts the program into a process group of its own, led by it, so that signals of the
    /// terminal do not reach it and the whole group can be found.
    pub fn process_group(mut self) -> Self {
        self.process_group = true;
        self
    }

    /// Makes the program a child of our parent instead of ours (`CLONE_PARENT`): a service manager waits
    /// only for its own children. How it ended is then told to that parent; [`Pidfd::wait`] says
    /// [`Exit::Unknown`](crate::Exit). Process 1 of a pid namespace has no parent to give it to: EINVAL.
    pub fn sibling(mut self) -> Self {
        self.sibling = true;
        self
    }

    /// The program's name in errors.
    fn shown(&self) -> &Path {
        match &self.source {
            Source::Path(path) | Source::Descriptor(_, path) => path,
        }
    }

    /// Starts the program. Blocks the calling thread until it runs (or could not), typically half
    /// a millisecond; other threads run on.
    ///
    /// A success means that the kernel executes the program, not that the program likes it: a
    /// shared library that is missing shows as an early exit. It comes at the point of no return
    /// inside `execve`; `/proc/<pid>/cmdline` and the closing of descriptors follow a moment
    /// later.
    ///
    /// # Errors
    /// See [`SpawnError`]; no process is left behind, and descriptors are unchanged.
    pub fn spawn(&self) -> Result<Child, SpawnError> {
        let mut plan = Plan::new(self)?;
        let vectors = plan.vectors();
        let mut orders = plan.orders(&vectors);
        let gate = claim::birth();
        // SAFETY: the pointers in `orders` come from `plan` and `vectors`, which live, unmoved and
        // untouched, until after the call.
        let (pid, fd) = unsafe { stack::start(&mut orders, self.sibling) }.map_err(|source| {
            SpawnError::Clone {
                path: self.shown().to_owned(),
                source,
            }
        })?;
        let pidfd = Pidfd::of_child(fd, pid, Claim::new(pid));
        drop(gate);
        let Some((stage, errno)) = orders.failure else {
            return Ok(Child { pid, pidfd });
        };
        // The child has exited or is about to; nobody needs its status.
        let _ = pidfd.wait(None);
        Err(self.explain(stage, errno, plan.size()))
    }

    fn explain(&self, stage: Stage, errno: i32, size: usize) -> SpawnError {
        let path = self.shown().to_owned();
        let source = io::Error::from_raw_os_error(errno);
        match stage {
            Stage::ProcessGroup => SpawnError::ProcessGroup { path, source },
            Stage::Descriptor => SpawnError::Descriptor { path, source },
            Stage::Directory => {
                let directory = self.directory.clone().unwrap_or_default();
                SpawnError::Directory {
                    path,
                    directory,
                    source,
                }
            }
            Stage::Exec => self.explain_exec(path, source, size),
        }
    }

    fn explain_exec(&self, path: PathBuf, source: io::Error, size: usize) -> SpawnError {
        let file = match &self.source {
            Source::Path(path) => path.clone(),
            // An O_PATH descriptor cannot be read, but what it names can be opened again.
            Source::Descriptor(fd, _) => PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
        };
        let pinned = matches!(self.source, Source::Descriptor(..));
        match source.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) if !file.exists() => SpawnError::NotFound { path },
            Some(libc::ENOENT) => match Format::of(&file) {
                Ok(Format::Script(_)) if pinned => SpawnError::PinnedScript { path },
                Ok(Format::Script(interpreter)) => SpawnError::MissingInterpreter {
                    path,
                    interpreter: Some(interpreter),
                },
                Ok(Format::Elf { interpreter, .. }) => {
                    SpawnError::MissingInterpreter { path, interpreter }
                }
                _ => SpawnError::MissingInterpreter {
                    path,
                    interpreter: None,
                },
            },
            Some(libc::EACCES) => SpawnError::NotExecutable {
                path,
                found: search::why_not_executable(&file),
            },
            Some(libc::ENOEXEC) => {
                let found = Format::of(&file).map_or_else(
                    |error| format!("a file that cannot be read ({error})"),
                    |format| format.describe(),
                );
                SpawnError::WrongFormat { path, found }
            }
            Some(libc::ETXTBSY) => SpawnError::TextBusy { path },
            Some(libc::E2BIG) => SpawnError::TooBig { path, found: size },
            _ => SpawnError::Exec { path, source },
        }
    }
}
