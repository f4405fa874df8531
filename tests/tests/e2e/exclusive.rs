//! One owner of data: state crosses, nobody writes twice, and a failure leaves the old one writing.

mod aborts;
mod acknowledged_writes;
mod dark_window;
mod ownership;
mod state_items;
mod ways_back;

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use handover_tests::writers::{Habit, Writers};
use handover_tests::{Builder, Program, Service};
use tempfile::TempDir;

use crate::FIXTURE;

/// The fixture that owns a directory, under a supervisor that knows it.
struct Owner {
    service: Service,
    program: Program,
    data: TempDir,
}

impl Deref for Owner {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl DerefMut for Owner {
    fn deref_mut(&mut self) -> &mut Service {
        &mut self.service
    }
}

/// In memory where that is possible: a disk that others keep busy is not what is tested.
fn directory() -> TempDir {
    let memory = tempfile::tempdir_in("/dev/shm");
    memory
        .or_else(|_| tempfile::tempdir())
        .expect("a directory")
}

fn arguments(version: &str, behaviour: &str) -> String {
    format!("--exclusive --version {version} {behaviour}")
}

impl Owner {
    fn start(version: &str, behaviour: &str, flags: &[&str]) -> Self {
        let (program, data) = (
            Program::new(FIXTURE, &arguments(version, behaviour)),
            directory(),
        );
        let service = builder(program.path(), data.path(), flags).start();
        Self {
            service,
            program,
            data,
        }
    }

    /// Puts another version in the program's place.
    fn deploy(&self, version: &str, behaviour: &str) {
        self.program
            .replace(FIXTURE, &arguments(version, behaviour));
    }

    /// Has a hook do something: `("seal", "delay", "1000")`.
    fn wish(&self, hook: &str, what: &str, value: &str) {
        fs::write(self.data.path().join(format!("{hook}.{what}")), value).expect("written");
    }

    fn forget(&self, hook: &str, what: &str) {
        fs::remove_file(self.data.path().join(format!("{hook}.{what}"))).expect("removed");
    }

    /// The hooks called so far, as `version hook`.
    fn hooks(&self) -> Vec<String> {
        let text = fs::read_to_string(self.data.path().join("hooks")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn writers(&self) -> Writers {
        let writers = Writers::start(self.address(), &[Habit::Fresh, Habit::Kept]);
        writers.go_on();
        writers
    }
}

fn builder(program: &Path, data: &Path, flags: &[&str]) -> Builder {
    Builder::new(program)
        .flags(["--exclusive"])
        .flags(flags.iter().copied())
        .env("FIXTURE_DATA", data)
}
