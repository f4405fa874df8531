//! Descriptors a parent left open for us: the `LISTEN_FDS` block of systemd (sd_listen_fds(3))
//! and single descriptors named by a variable.
//!
//! They are adopted by name (I8) and never shut down, so that a listener outlives whoever serves
//! it (I4).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use thiserror::Error;

use crate::socket::{Kind, SocketError, SocketFacts, describe};

/// The first descriptor of the block: `SD_LISTEN_FDS_START` of sd-daemon.h.
pub const FIRST_DESCRIPTOR: RawFd = 3;

/// The most descriptors taken from one block. The kernel's default limit of open files is 1,024
/// for a process; a larger number is a mistake, and checking each of them is not free.
pub const MAX_INHERITED: usize = 1024;

/// The longest name of a descriptor: `FDNAME_MAX` of systemd.
pub const MAX_NAME: usize = 255;

/// The name systemd gives to a descriptor without one (sd_listen_fds_with_names(3)).
pub const UNNAMED: &str = "unknown";

const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Why inherited descriptors were not taken. Whenever it is returned nothing has changed: the
/// descriptors are open as before, the variables are set, and the call can be made again.
#[derive(Debug, Error)]
pub enum InheritError {
    /// The block has already been taken by this process.
    #[error("the inherited descriptors were taken already; take them once and pass them on")]
    AlreadyTaken,
    /// A variable that must be a number is not one.
    #[error("{variable} must be a number, but it is {found:?}; correct it in whatever starts this")]
    NotANumber {
        /// The variable.
        variable: String,
        /// Its value.
        found: String,
    },
    /// More descriptors than any sensible parent passes.
    #[error("LISTEN_FDS announces {found} descriptors, at most {limit} are taken")]
    TooMany {
        /// [`MAX_INHERITED`].
        limit: usize,
        /// The number announced.
        found: usize,
    },
    /// The number of names differs from the number of descriptors.
    #[error(
        "LISTEN_FDNAMES holds {found} names for {expected} descriptors; \
         name each of them, separated by colons, or unset it"
    )]
    NamesMismatch {
        /// Descriptors announced.
        expected: usize,
        /// Names given.
        found: usize,
    },
    /// A name is too long or holds a control character.
    #[error(
        "the name {name:?} in LISTEN_FDNAMES is not valid; \
         use at most 255 printable ASCII characters without a colon"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// An announced descriptor is not open.
    #[error(
        "descriptor {number} ({name}) is announced but not open; \
         the variables belong to another process or something closed it"
    )]
    NotOpen {
        /// Its number.
        number: RawFd,
        /// Its name, or the variable that announced it.
        name: String,
    },
    /// An announced descriptor was not inherited: it is close-on-exec, so this process opened it.
    #[error(
        "descriptor {number} ({name}) belongs to this process already, it was not inherited; \
         take the inherited descriptors before opening anything else"
    )]
    NotInherited {
        /// Its number.
        number: RawFd,
        /// Its name, or the variable that announced it.
        name: String,
    },
    /// An announced descriptor is something else than a socket.
    #[error("descriptor {number} ({name}) cannot be used as a listener: {source}")]
    NotASocket {
        /// Its number.
        number: RawFd,
        /// Its name.
        name: String,
        /// What it is instead.
        source: SocketError,
    },
    /// A stream or seqpacket socket that is not listening.
    #[error(
        "descriptor {number} ({name}) is a connection, not a listener; \
         with systemd set Accept=no in the socket unit"
    )]
    NotListening {
        /// Its number.
        number: RawFd,
        /// Its name.
        name: String,
    },
    /// The kernel refused.
    #[error("descriptor {number} ({name}) cannot be taken: {source}")]
    Io {
        /// Its number.
        number: RawFd,
        /// Its name.
        name: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// The block as the variables describe it, before any descriptor is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// One name per descriptor, from [`FIRST_DESCRIPTOR`] on; [`UNNAMED`] where there is none.
    /// Names may repeat: the position tells them apart.
    pub names: Vec<String>,
    /// Whether `LISTEN_PID` said that the block is ours. Without it each descriptor must prove
    /// itself by being a socket.
    pub addressed: bool,
}

/// Reads the three variables; touches no descriptor and no environment.
///
/// `None` when there is no block, when it announces no descriptors, or when `LISTEN_PID` names
/// another process.
///
/// # Errors
/// [`InheritError::NotANumber`], [`InheritError::TooMany`], [`InheritError::NamesMismatch`],
/// [`InheritError::BadName`].
pub fn parse(
    listen_pid: Option<&str>,
    listen_fds: Option<&str>,
    names: Option<&str>,
    own_pid: u32,
) -> Result<Option<Block>, InheritError> {
    let Some(listen_fds) = listen_fds else {
        return Ok(None);
    };
    if let Some(text) = listen_pid
        && number::<u32>("LISTEN_PID", text)? != own_pid
    {
        return Ok(None);
    }
    let count: usize = number("LISTEN_FDS", listen_fds)?;
    if count > MAX_INHERITED {
        return Err(InheritError::TooMany {
            limit: MAX_INHERITED,
            found: count,
        });
    }
    if count == 0 {
        return Ok(None);
    }
    let names = match names.filter(|names| !names.is_empty()) {
        None => vec![UNNAMED.to_owned(); count],
        Some(text) => split_names(text, count)?,
    };
    Ok(Some(Block {
        names,
        addressed: listen_pid.is_some(),
    }))
}

fn number<T: std::str::FromStr>(variable: &str, text: &str) -> Result<T, InheritError> {
    // `parse` would accept "+3"; digits only, so that what we read is what was meant.
    if !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    Err(InheritError::NotANumber {
        variable: variable.to_owned(),
        found: text.to_owned(),
    })
}

fn split_names(text: &str, expected: usize) -> Result<Vec<String>, InheritError> {
    let found = text.split(':').count();
    if found != expected {
        return Err(InheritError::NamesMismatch { expected, found });
    }
    text.split(':')
        .map(|name| {
            if name.len() > MAX_NAME || !name.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
                return Err(InheritError::BadName {
                    name: name.to_owned(),
                });
            }
            Ok(if name.is_empty() { UNNAMED } else { name }.to_owned())
        })
        .collect()
}

/// A descriptor that a parent left open for us.
#[derive(Debug)]
pub struct Inherited {
    /// Its name; [`UNNAMED`] when it has none. Not necessarily unique: the position in the list
    /// is the position in the block.
    pub name: String,
    /// The descriptor, close-on-exec. Never `shutdown` it: that would close it for every process.
    pub fd: OwnedFd,
    /// What kind of socket it is.
    pub facts: SocketFacts,
}

impl Inherited {
    /// A listener that came in another way.
    ///
    /// # Errors
    /// It is not a socket, or the kernel does not say what it is; it is closed.
    pub fn new(name: impl Into<String>, fd: OwnedFd) -> io::Result<Self> {
        let facts = crate::socket::describe(&fd).map_err(io::Error::other)?;
        let name = name.into();
        Ok(Self { name, fd, facts })
    }
}

/// A descriptor of the block that is no socket.
#[derive(Debug)]
pub struct InheritedFile {
    /// Its name; [`UNNAMED`] when it has none.
    pub name: String,
    /// The descriptor, close-on-exec.
    pub fd: OwnedFd,
}

/// What this process has taken. A number can become an [`OwnedFd`] only once.
struct Taken {
    block: bool,
    numbers: BTreeSet<RawFd>,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    block: false,
    numbers: BTreeSet::new(),
});

fn taken() -> MutexGuard<'static, Taken> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the `LISTEN_FDS` block of this process: checks that each descriptor is open, inherited,
/// a socket, and listening where that applies; sets close-on-exec on all of them; removes
/// `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` so that no child believes them.
///
/// Without a block, or when it is addressed to another process, the list is empty; the variables
/// are removed in that case too.
///
/// # Call it early
/// First in `main`, before another thread exists: it changes the environment, and while Rust code
/// synchronises on that, C code calling `getenv` in another thread (a resolver, a time zone
/// look-up) does not, which is undefined behaviour there.
///
/// # Errors
/// See [`InheritError`]; on any of them nothing has changed. A second call after a success gives
/// [`InheritError::AlreadyTaken`].
pub fn take() -> Result<Vec<Inherited>, InheritError> {
    take_block(NonSockets::Refused).map(|(sockets, _)| sockets)
}

/// [`take`] that also gives what is no socket: memory or a file from systemd's descriptor store, a
/// FIFO of a socket unit. They are taken from a block that `LISTEN_PID` says is ours only: without
/// it each descriptor must prove itself by being a socket.
///
/// # Errors
/// As [`take`].
pub fn take_with_files() -> Result<(Vec<Inherited>, Vec<InheritedFile>), InheritError> {
    take_block(NonSockets::Taken)
}

/// What becomes of descriptors that are no sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NonSockets {
    Refused,
    Taken,
}

/// A descriptor of the block, looked at.
enum Checked {
    Socket(SocketFacts),
    File,
}

fn take_block(
    non_sockets: NonSockets,
) -> Result<(Vec<Inherited>, Vec<InheritedFile>), InheritError> {
    let mut taken = taken();
    if taken.block {
        return Err(InheritError::AlreadyTaken);
    }
    let [pid, fds, names] = VARIABLES.map(variable);
    let block = parse(
        pid.as_deref(),
        fds.as_deref(),
        names.as_deref(),
        std::process::id(),
    )?;
    let addressed = block.as_ref().is_some_and(|block| block.addressed);
    let takes_files = addressed && non_sockets == NonSockets::Taken;
    let names = block.map(|block| block.names).unwrap_or_default();

    // Everything is checked before anything is changed.
    let mut checked = Vec::with_capacity(names.len());
    for (number, name) in (FIRST_DESCRIPTOR..).zip(names) {
        if taken.numbers.contains(&number) {
            return Err(InheritError::NotInherited { number, name });
        }
        let found = match check_listener(number, &name) {
            Err(InheritError::NotASocket { .. }) if takes_files => Checked::File,
            facts => Checked::Socket(facts?),
        };
        checked.push((number, name, found));
    }
    for (number, name, _) in &checked {
        close_on_exec(*number, name)?;
    }
    taken.block = true;
    for variable in VARIABLES {
        remove(variable);
    }
    let (mut sockets, mut files) = (Vec::new(), Vec::new());
    for (number, name, found) in checked {
        taken.numbers.insert(number);
        // SAFETY: the descriptor is open and was inherited over `execve` (it was not
        // close-on-exec, see `check_inherited`), so no code of this process owns it, and `TAKEN`
        // makes sure that it becomes an `OwnedFd` only once.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        match found {
            Checked::Socket(facts) => sockets.push(Inherited { name, fd, facts }),
            Checked::File => files.push(InheritedFile { name, fd }),
        }
    }
    Ok((sockets, files))
}

/// Takes the single descriptor whose number is the value of `variable`: for what a parent passes
/// beside the block (a control channel, a file with state). It may be any kind of file; it
/// becomes close-on-exec, and the variable is removed. `None` when the variable is not set.
///
/// The rule of [`take`] about threads applies.
///
/// # Errors
/// [`InheritError::NotANumber`], [`InheritError::NotOpen`], [`InheritError::NotInherited`] (also
/// for a number taken before, and for standard input, output and error, which everybody shares);
/// nothing has changed.
pub fn take_numbered(variable_name: &str) -> Result<Option<OwnedFd>, InheritError> {
    let mut taken = taken();
    let Some(text) = variable(variable_name) else {
        return Ok(None);
    };
    let raw: RawFd = number(variable_name, &text)?;
    if raw < FIRST_DESCRIPTOR || taken.numbers.contains(&raw) {
        return Err(InheritError::NotInherited {
            number: raw,
            name: variable_name.to_owned(),
        });
    }
    check_inherited(raw, variable_name)?;
    close_on_exec(raw, variable_name)?;
    remove(variable_name);
    taken.numbers.insert(raw);
    // SAFETY: as in `take`: open, inherited, and handed out once.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(raw) }))
}

/// Takes a variable that goes with a descriptor of [`take_numbered`] out of the environment, so that
/// no child believes it. `None` when it is not set.
///
/// The rule of [`take`] about threads applies.
#[must_use]
pub fn take_variable(name: &str) -> Option<String> {
    // Held, so that what is taken together is seen together.
    let _taken = taken();
    let text = variable(name)?;
    remove(name);
    Some(text)
}

/// A variable's value. One that is not UTF-8 is kept recognisable, and then refused by the parser.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value: OsString| value.to_string_lossy().into_owned())
}

fn remove(name: &str) {
    // SAFETY: the callers' documentation demands that no other thread runs yet; Rust's own
    // accesses are serialised by the standard library in any case.
    unsafe { std::env::remove_var(name) };
}

/// A descriptor by number, for questions only.
fn borrow<'a>(number: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the number is not -1. Whether it is open is the very question the callers ask; the
    // borrow is used for calls that answer EBADF if not, and is never stored.
    unsafe { BorrowedFd::borrow_raw(number) }
}

fn check_inherited(number: RawFd, name: &str) -> Result<(), InheritError> {
    match fcntl_getfd(borrow(number)) {
        Err(Errno::BADF) => Err(InheritError::NotOpen {
            number,
            name: name.to_owned(),
        }),
        Err(error) => Err(InheritError::Io {
            number,
            name: name.to_owned(),
            source: error.into(),
        }),
        // What comes through `execve` cannot be close-on-exec, and what Rust opens always is.
        Ok(flags) if flags.contains(FdFlags::CLOEXEC) => Err(InheritError::NotInherited {
            number,
            name: name.to_owned(),
        }),
        Ok(_) => Ok(()),
    }
}

fn check_listener(number: RawFd, name: &str) -> Result<SocketFacts, InheritError> {
    check_inherited(number, name)?;
    let facts = describe(borrow(number)).map_err(|source| InheritError::NotASocket {
        number,
        name: name.to_owned(),
        source,
    })?;
    if matches!(facts.kind, Kind::Stream | Kind::SeqPacket) && !facts.listening {
        return Err(InheritError::NotListening {
            number,
            name: name.to_owned(),
        });
    }
    Ok(facts)
}

fn close_on_exec(number: RawFd, name: &str) -> Result<(), InheritError> {
    fcntl_setfd(borrow(number), FdFlags::CLOEXEC).map_err(|error| InheritError::Io {
        number,
        name: name.to_owned(),
        source: error.into(),
    })
}

#[cfg(test)]
mod tests;
