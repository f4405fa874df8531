//! What the parent prepares: every string, array and stack, so that the child has only to call.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int};

use super::child::{Mapping, Orders, PID_DIGITS, Program};
use super::{MAX_MAPPED, Source, Spawn, SpawnError};

/// The variable a child writes itself.
const LISTEN_PID: &str = "LISTEN_PID";

/// Strings and arrays that [`Orders`] points into.
pub(super) struct Plan {
    program: Option<CString>,
    descriptor: c_int,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: Option<CString>,
    listen_pid: Option<Vec<u8>>,
    map: Vec<Mapping>,
    first_free: c_int,
    process_group: bool,
}

/// The pointer arrays for `execve`, each closed by a null pointer.
pub(super) struct Vectors {
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Plan {
    pub(super) fn new(spawn: &Spawn<'_>) -> Result<Self, SpawnError> {
        let shown = spawn.shown();
        let nul = |what: String| {
            move |_| SpawnError::ContainsNul {
                path: shown.to_owned(),
                what,
            }
        };
        let text = |text: &OsStr, what: String| CString::new(text.as_bytes()).map_err(nul(what));

        let (program, descriptor) = match &spawn.source {
            Source::Path(path) => (
                Some(text(&absolute(path).into_os_string(), "the path".into())?),
                -1,
            ),
            Source::Descriptor(fd, _) => (None, fd.as_raw_fd()),
        };
        let first = spawn.arg0.as_deref().unwrap_or(shown.as_os_str());
        let mut arguments = vec![text(first, "argument 0".into())?];
        for (index, argument) in spawn.args.iter().enumerate() {
            arguments.push(text(argument, format!("argument {}", index + 1))?);
        }
        let directory = match &spawn.directory {
            Some(directory) => Some(text(directory.as_os_str(), "the working directory".into())?),
            None => None,
        };
        let map = map(spawn)?;
        Ok(Self {
            program,
            descriptor,
            arguments,
            environment: environment(spawn)?,
            directory,
            listen_pid: spawn.listen_pid.then(listen_pid_slot),
            first_free: super::FIRST_MAPPED + spawn.descriptors.len() as c_int,
            map,
            process_group: spawn.process_group,
        })
    }

    /// The pointers for `execve`. They borrow from `self` without the compiler knowing.
    pub(super) fn vectors(&mut self) -> Vectors {
        let close = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|string| string.as_ptr()).collect()
        };
        let mut arguments = close(&self.arguments);
        arguments.push(ptr::null());
        let mut environment = close(&self.environment);
        if let Some(slot) = &mut self.listen_pid {
            environment.push(slot.as_mut_ptr().cast_const().cast());
        }
        environment.push(ptr::null());
        Vectors {
            arguments,
            environment,
        }
    }

    /// The orders for the child; valid as long as `self` and `vectors` live and stand still.
    pub(super) fn orders(&mut self, vectors: &Vectors) -> Orders {
        let listen_pid = match &mut self.listen_pid {
            // Behind "LISTEN_PID=", inside the vector.
            Some(slot) => slot.as_mut_ptr().wrapping_add(LISTEN_PID.len() + 1),
            None => ptr::null_mut(),
        };
        Orders {
            program: match &self.program {
                Some(path) => Program::Path(path.as_ptr()),
                None => Program::Descriptor(self.descriptor),
            },
            arguments: vectors.arguments.as_ptr(),
            environment: vectors.environment.as_ptr(),
            directory: self
                .directory
                .as_ref()
                .map_or(ptr::null(), |path| path.as_ptr()),
            map: self.map.as_mut_ptr(),
            map_length: self.map.len(),
            first_free: self.first_free,
            listen_pid,
            process_group: self.process_group,
            failure: None,
        }
    }

    /// Bytes of arguments and environment together, for a report.
    pub(super) fn size(&self) -> usize {
        let strings = self.arguments.iter().chain(&self.environment);
        strings
            .map(|string| string.as_bytes_with_nul().len() + size_of::<usize>())
            .sum()
    }
}

/// The program's path from the root, because the child may change its directory first.
fn absolute(path: &Path) -> std::path::PathBuf {
    // Fails only for an empty path or a deleted working directory; then the kernel says so.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn map(spawn: &Spawn<'_>) -> Result<Vec<Mapping>, SpawnError> {
    let found = spawn.descriptors.len();
    if found > MAX_MAPPED {
        let path = spawn.shown().to_owned();
        return Err(SpawnError::TooManyDescriptors {
            path,
            limit: MAX_MAPPED,
            found,
        });
    }
    let standard = (0..).zip(spawn.standard.iter()).filter_map(|(target, fd)| {
        fd.map(|fd| Mapping {
            source: fd.as_raw_fd(),
            target,
        })
    });
    let passed = (super::FIRST_MAPPED..)
        .zip(spawn.descriptors.iter())
        .map(|(target, fd)| Mapping {
            source: fd.as_raw_fd(),
            target,
        });
    Ok(standard.chain(passed).collect())
}

fn environment(spawn: &Spawn<'_>) -> Result<Vec<CString>, SpawnError> {
    let inherited: Vec<(OsString, OsString)>;
    let variables = match &spawn.environment {
        Some(variables) => variables,
        None => {
            inherited = std::env::vars_os().collect();
            &inherited
        }
    };
    let mut strings = Vec::with_capacity(variables.len());
    for (name, value) in variables {
        if spawn.listen_pid && name == LISTEN_PID {
            continue;
        }
        let bad = |problem| SpawnError::BadEnvironment {
            path: spawn.shown().to_owned(),
            variable: name.to_string_lossy().into_owned(),
            problem,
        };
        if name.is_empty() {
            return Err(bad("has no name"));
        }
        if name.as_bytes().contains(&b'=') {
            return Err(bad("has an equals sign in its name"));
        }
        let bytes = [name.as_bytes(), b"=", value.as_bytes()].concat();
        strings.push(CString::new(bytes).map_err(|_| bad("holds a NUL byte"))?);
    }
    Ok(strings)
}

/// `LISTEN_PID=` with room for the digits and the NUL; zeroed, so it is a string at every moment.
fn listen_pid_slot() -> Vec<u8> {
    let mut slot = format!("{LISTEN_PID}=").into_bytes();
    slot.resize(slot.len() + PID_DIGITS + 1, 0);
    slot
}
