//! The process itself: blocking, one thread, a few descriptors.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use handover_sys::Pidfd;
use handover_sys::control::file_at;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::KEEPER_SOCKET;
use super::exchange::{self, Request};
use crate::supervisor::adoption::observe;

/// How long listeners are held when neither a supervisor nor an instance is alive: whoever
/// restarts a supervisor that died together with its instance needs a moment for it, and until
/// then clients wait instead of being refused. Not for ever: the addresses are to be free then.
pub const LINGER: Duration = Duration::from_secs(5);

/// Without a supervisor, how often it is looked for instances although none has ended.
const LOOK: Duration = Duration::from_secs(60);

/// Supervisors that are connected at once: one, and another that takes over from it.
const MAX_OWNERS: usize = 8;

struct Keeping {
    dir: PathBuf,
    listener: UnixListener,
    kept: Vec<OwnedFd>,
    owners: Vec<UnixStream>,
    /// What was alive without a supervisor when that was last looked for.
    instances: Vec<Pidfd>,
    /// Since when nobody is known to be alive.
    alone: Option<Instant>,
}

/// Holds the listeners of the service in `dir` until nobody needs them: what a keeper process
/// does. Its standard input must be the listening socket that supervisors connect to.
///
/// # Errors
/// Standard input is no such socket, or it cannot be waited for.
pub fn keep(dir: &Path) -> io::Result<()> {
    // Signals of the supervisor's terminal are not for us. Fails for a group's leader, which has
    // no terminal to fear.
    let _ = rustix::process::setsid();
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    let path = dir.join(KEEPER_SOCKET);
    let own = file_at(&path);
    let mut keeping = Keeping {
        dir: dir.to_owned(),
        listener,
        kept: Vec::new(),
        owners: Vec::new(),
        instances: Vec::new(),
        alone: Some(Instant::now()),
    };
    let ended = keeping.run();
    // Unless it is another keeper's by now.
    if own.is_some() && file_at(&path) == own {
        let _ = fs::remove_file(&path);
    }
    ended
}

impl Keeping {
    fn run(&mut self) -> io::Result<()> {
        loop {
            let time = self.time_left();
            if time == Some(Duration::ZERO) && self.alone.is_some() {
                self.look();
                if self.alone.is_some() {
                    return Ok(());
                }
                continue;
            }
            let owned = !self.owners.is_empty();
            self.wait(time)?;
            if self.serve() {
                return Ok(());
            }
            if owned && self.owners.is_empty() {
                self.look();
            }
        }
    }

    /// Until something is to be done although nothing has happened.
    fn time_left(&self) -> Option<Duration> {
        match self.alone {
            _ if !self.owners.is_empty() => None,
            Some(since) => Some(LINGER.saturating_sub(since.elapsed())),
            None => Some(LOOK),
        }
    }

    /// Waits for a connection, the end of an owner or, without one, of an instance.
    fn wait(&mut self, time: Option<Duration>) -> io::Result<()> {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let owners = self.owners.iter();
        fds.extend(owners.map(|owner| PollFd::new(owner, PollFlags::IN)));
        let waits_for = fds.len();
        let instances = self.instances.iter();
        fds.extend(instances.map(|instance| PollFd::new(instance, PollFlags::IN)));
        let ready = match poll(&mut fds, time.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let happened: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut gone = happened[1..waits_for].iter();
        self.owners.retain(|_| !*gone.next().unwrap_or(&false));
        let ended = happened[waits_for..].contains(&true);
        if self.owners.is_empty() && self.alone.is_none() && (ended || ready == 0) {
            self.look();
        }
        Ok(())
    }

    /// Answers everybody who has connected; whether the service was stopped.
    fn serve(&mut self) -> bool {
        while let Ok((stream, _)) = self.listener.accept() {
            // Whoever spoke nonsense, or left, has closed the connection.
            if self.serve_one(stream).unwrap_or(false) {
                return true;
            }
        }
        false
    }

    fn serve_one(&mut self, mut stream: UnixStream) -> io::Result<bool> {
        if !handover_sys::peer::credentials(&stream)?.is_trusted() {
            return Ok(false);
        }
        let (request, received) = exchange::accept(&mut stream)?;
        if request == Request::Keep {
            self.kept = received;
        }
        exchange::answer(&mut stream, request, &self.kept)?;
        if request == Request::Own && self.owners.len() < MAX_OWNERS {
            self.owners.push(stream);
            self.instances.clear();
            self.alone = None;
        }
        Ok(request == Request::End)
    }

    /// Looks who is alive, now that there is no supervisor.
    fn look(&mut self) {
        let alive = observe(&self.dir).alive;
        let pids = alive.iter().map(|(_, pid)| pid.0);
        self.instances = pids.filter_map(|pid| Pidfd::open(pid).ok()).collect();
        self.alone = match self.instances.is_empty() {
            true => self.alone.or_else(|| Some(Instant::now())),
            false => None,
        };
    }
}
