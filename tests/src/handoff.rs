//! A daemon with one owner of a directory, twice: on the crate beyond-handoff as its own README
//! shows it, and on our library with the same control socket.
//!
//! | argument | behaviour |
//! |---|---|
//! | `--library theirs` or `ours` | which of the two; `nobody`: connects to the socket, and ends with code 0 if it is shown the door; `supervisor`: hands over to the program in `--binary` by the crate's supervisor; any other word: a lie of `liar` |
//! | `--version N` | said in answers, and written into the log |
//! | `--data DIR`, `--socket PATH` | the directory it owns, and its control socket |
//! | `--exit-before-greeting`, `--exit-before-ready` | ends there with code 3 |
//! | `--never-ready` | takes the lock and hangs |
//! | `--unhealthy` | is ready and says that it is not |
//! | `--older` | is ready with a revision lower than the one that was sealed |
//! | `--warm MS` | ours: takes so long to warm |
//! | `--hook-delay MS` | each hook takes so long, with heartbeats as the crate has them |
//!
//! A file `seal.fail` in the directory makes the next seal fail and is removed by it. Each hook that
//! is called adds a line to `hooks`: version, process and hook.
//!
//! Paths: `/who` (version), `/pid`, `/write` (a line in the file `log`: version and process).

mod liar;
mod ours;
mod store;
mod supervisor;
mod theirs;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use store::Store;

#[derive(Clone, Debug, Default)]
struct Behaviour {
    library: String,
    version: String,
    data: PathBuf,
    socket: PathBuf,
    binary: PathBuf,
    exit_before_greeting: bool,
    exit_before_ready: bool,
    never_ready: bool,
    unhealthy: bool,
    older: bool,
    warm: Duration,
    hook_delay: Duration,
}

impl Behaviour {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut found = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{flag} needs a value"));
            let time = |text: String| {
                let millis = text.parse().map_err(|error| format!("{text}: {error}"));
                millis.map(Duration::from_millis)
            };
            match flag.as_str() {
                "--library" => found.library = value()?,
                "--version" => found.version = value()?,
                "--data" => found.data = value()?.into(),
                "--socket" => found.socket = value()?.into(),
                "--binary" => found.binary = value()?.into(),
                "--exit-before-greeting" => found.exit_before_greeting = true,
                "--exit-before-ready" => found.exit_before_ready = true,
                "--never-ready" => found.never_ready = true,
                "--unhealthy" => found.unhealthy = true,
                "--older" => found.older = true,
                "--warm" => found.warm = time(value()?)?,
                "--hook-delay" => found.hook_delay = time(value()?)?,
                other => return Err(format!("{other}: the daemon knows no such flag")),
            }
        }
        Ok(found)
    }
}

/// The daemon, to its end.
#[must_use]
pub fn main() -> ExitCode {
    let behaviour = match Behaviour::parse(crate::program::own_arguments()) {
        Ok(behaviour) => behaviour,
        Err(error) => {
            eprintln!("handoff-daemon: {error}");
            return ExitCode::from(2);
        }
    };
    if behaviour.exit_before_greeting {
        return ExitCode::from(3);
    }
    let served = match behaviour.library.as_str() {
        "theirs" => theirs::serve(behaviour),
        "supervisor" => supervisor::hand_over(&behaviour),
        "nobody" => shown_the_door(&behaviour),
        "ours" => ours::serve(behaviour),
        lie => liar::tell(lie),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("handoff-daemon: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A connection that is closed without a word.
fn shown_the_door(behaviour: &Behaviour) -> std::io::Result<()> {
    let mut stream = std::os::unix::net::UnixStream::connect(&behaviour.socket)?;
    let mut greeting = [0];
    match std::io::Read::read(&mut stream, &mut greeting) {
        Ok(0) | Err(_) => Ok(()),
        Ok(_) => Err(std::io::Error::other("it was greeted")),
    }
}
