//! Third-party programs: where they are is told by the environment, as `cargo xtask test` does.

use std::path::PathBuf;

/// The program that the variable names.
///
/// `None`, with the reason printed, when it is not set: the test is then to return. With `CI` set
/// nothing may be skipped.
///
/// # Panics
/// When it is not set although `CI` is.
#[must_use]
pub fn find(variable: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Some(path.into());
    }
    skip(&format!(
        "{variable} is not set; `cargo xtask test` installs the program and sets it"
    ));
    None
}

/// A program of the system, also of its administrators, whose folders are in few users' `PATH`.
///
/// `None`, with the reason printed, when there is none: the test is then to return.
///
/// # Panics
/// When there is none although `CI` is set.
#[must_use]
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        skip(&format!(
            "{name} is missing; `cargo xtask test` installs it"
        ));
    }
    found
}

/// Whether this process is root.
///
/// # Panics
/// When it is not, although `CI` is set.
#[must_use]
pub fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("it needs root, to take other user ids or namespaces");
    }
    root
}

/// Says that the running test is skipped, and why.
///
/// # Panics
/// With `CI` set.
pub fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI is set, and {reason}");
    let test = std::thread::current();
    eprintln!("SKIPPED {}: {reason}", test.name().unwrap_or("a test"));
}
