//! The keeper: a tiny process that holds the listeners too, so that they outlive the supervisor
//! where they could not be taken back out of the instances (I4, I12).
//!
//! Taking a descriptor out of a process (`pidfd_getfd`) needs the right to trace it. The Yama
//! module takes that from everybody but parents and `CAP_SYS_PTRACE`, container runtimes forbid
//! the call, and a program that has changed its user is out of reach. There the supervisor starts
//! a keeper, gives it the listeners, and a later supervisor of the same user gets them from it.
//!
//! The keeper never looks at what arrives on a listener. It ends when the service was stopped, and
//! when neither a supervisor nor an instance has been alive for [`LINGER`].

mod exchange;
mod process;

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use handover_proto::event::EventKind;
use handover_sys::Pidfd;
use handover_sys::control::bind_private;
use handover_sys::spawn::Spawn;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

use super::config::Config;
use super::driver::{Command, Driver};
use super::ptrace;
use super::sockets::OpenListener;
use crate::readable::readable;
use exchange::{Request, STEP};

pub use process::{LINGER, keep};

/// Name of the keeper's socket in a service's directory.
pub(super) const KEEPER_SOCKET: &str = "keeper.sock";

/// Between the end of a keeper and the start of the next: one that cannot live must not keep the
/// supervisor busy.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Its longest, as long as none could be started: doubled from the first.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a new keeper may take until it answers: a program is started on a busy machine.
const START: Duration = Duration::from_secs(10);

/// How long a keeper that was told to end may take.
const END: Duration = Duration::from_secs(1);

/// When a keeper is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeeperPolicy {
    /// Where the kernel may refuse to give a later supervisor the listeners of the instances, and
    /// there will be a later one: not as PID 1, whose end is every process's.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Whether a later supervisor might be refused the listeners of the instances.
fn may_be_refused() -> bool {
    let tracer = ptrace::is_tracer();
    let scope = ptrace::scope().and_then(|text| text.parse::<u32>().ok());
    let forbidden = || ptrace::duplicates().is_err();
    // A program that root starts may become another user.
    let other_user = rustix::process::geteuid().is_root() && !tracer;
    match scope.unwrap_or(0) {
        0 => other_user || forbidden(),
        1 | 2 => !tracer || forbidden(),
        _ => true,
    }
}

/// The listeners that a keeper of an earlier supervisor holds; none if there is no keeper.
pub(super) fn fetch(dir: &Path) -> Vec<OwnedFd> {
    let path = dir.join(KEEPER_SOCKET);
    match exchange::ask(&path, Request::Get, &[], STEP) {
        Ok((_, kept)) => kept,
        Err(error) => {
            let absent = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            if !absent.contains(&error.kind()) {
                tracing::warn!(%error, "the keeper does not give the listeners");
            }
            Vec::new()
        }
    }
}

/// The supervisor's side.
#[derive(Debug)]
pub(super) struct Keeper {
    dir: PathBuf,
    /// What makes this program a keeper; none: there is to be no keeper.
    arguments: Option<Vec<String>>,
    /// Open for as long as both live.
    owner: Option<UnixStream>,
    child: Option<Pidfd>,
    /// What it was given.
    given: Vec<Weak<OpenListener>>,
    /// Attempts in a row to give it something that failed.
    failures: u32,
    /// Another attempt comes by itself.
    waits: bool,
    /// How many connections there have been: what is told of an earlier one is old.
    connection: u64,
}

impl Keeper {
    /// Starts nothing yet. `found`: an earlier supervisor's keeper is there.
    pub(super) fn new(config: &Config, dir: &Path, found: bool) -> Self {
        let wanted = match config.keeper {
            KeeperPolicy::Never => false,
            KeeperPolicy::Always => true,
            KeeperPolicy::Auto => found || (std::process::id() != 1 && may_be_refused()),
        };
        let arguments = config.keeper_arguments.clone();
        let keeper = Self {
            dir: dir.to_owned(),
            arguments: Some(arguments).filter(|known| wanted && !known.is_empty()),
            owner: None,
            child: None,
            given: Vec::new(),
            failures: 0,
            waits: false,
            connection: 0,
        };
        if keeper.arguments.is_none() && found {
            keeper.tell_to_end();
        }
        keeper
    }

    fn socket(&self) -> PathBuf {
        self.dir.join(KEEPER_SOCKET)
    }

    fn tell_to_end(&self) {
        // One that is not there needs not be told.
        let _ = exchange::ask(&self.socket(), Request::End, &[], STEP);
    }

    /// Gives it these listeners, and no others, if they are not the ones it has.
    fn give(
        &mut self,
        listeners: &[Arc<OpenListener>],
        to: &UnboundedSender<Command>,
        null: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let Some(arguments) = self.arguments.clone() else {
            return Ok(());
        };
        let same = self.given.len() == listeners.len()
            && self
                .given
                .iter()
                .zip(listeners)
                .all(|(given, listener)| given.as_ptr() == Arc::as_ptr(listener));
        if same && (self.owner.is_some() || self.waits || listeners.is_empty()) {
            return Ok(());
        }
        if self.owner.is_none() {
            self.own(&arguments, to, null)?;
        }
        let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(|open| open.as_fd()).collect();
        exchange::ask(&self.socket(), Request::Keep, &descriptors, STEP)?;
        self.given = listeners.iter().map(Arc::downgrade).collect();
        Ok(())
    }

    /// Becomes the supervisor of the keeper that is there, or of a new one.
    fn own(
        &mut self,
        arguments: &[String],
        to: &UnboundedSender<Command>,
        null: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let owner = match exchange::ask(&self.socket(), Request::Own, &[], STEP) {
            Ok((owner, _)) => owner,
            Err(_) => {
                self.child = Some(self.start(arguments, null)?);
                exchange::ask(&self.socket(), Request::Own, &[], START)?.0
            }
        };
        let watched = readable(owner.try_clone()?)?;
        let ended = async move {
            // It never says anything on this connection, so this is its end.
            let _ = watched.readable().await;
        };
        self.connection += 1;
        later(ended, RESTART_PAUSE, to, self.connection);
        self.owner = Some(owner);
        Ok(())
    }

    fn start(&self, arguments: &[String], null: BorrowedFd<'_>) -> io::Result<Pidfd> {
        let socket = bind_private(self.socket()).map_err(io::Error::other)?;
        let dir = self.dir.display().to_string();
        // This very program, also when its file was replaced. Nothing of our environment: by that
        // instances are known. Its standard input is its socket, as inetd does it.
        let child = Spawn::path("/proc/self/exe")
            .arg0("handover-keeper")
            .args(arguments.iter().chain([&dir]))
            .env([])
            .current_dir("/")
            .stdin(socket.as_fd())
            .stdout(null)
            .stderr(null)
            .spawn();
        Ok(child.map_err(io::Error::other)?.pidfd)
    }

    fn forget(&mut self) {
        if let Some(owner) = self.owner.take() {
            // Not by closing: whoever waits for its end has a copy.
            let _ = owner.shutdown(Shutdown::Both);
        }
        self.given.clear();
        self.waits = false;
        if let Some(child) = self.child.take() {
            // Reaps it.
            let _ = child.try_wait();
        }
    }

    /// The service was stopped, or nobody serves: the listeners are to be closed.
    pub(super) fn end(&mut self) {
        if self.owner.is_some() {
            self.tell_to_end();
        }
        if let Some(child) = self.child.take() {
            let _ = child.wait(Some(END));
        }
        self.forget();
    }
}

/// Tells the driver, after something has happened and a pause.
fn later(
    happened: impl Future<Output = ()> + Send + 'static,
    pause: Duration,
    to: &UnboundedSender<Command>,
    connection: u64,
) {
    let to = to.clone();
    tokio::spawn(async move {
        happened.await;
        tokio::time::sleep(pause).await;
        // The supervisor may have ended too.
        let _ = to.send(Command::KeeperGone { connection });
    });
}

impl Driver {
    /// Lets the keeper, if there is to be one, hold what we hold. Costs nothing while that is the
    /// same.
    pub(super) fn keep_listeners(&mut self) {
        let mut listeners: Vec<Arc<OpenListener>> = Vec::new();
        for open in self.candidates.values().flat_map(|c| &c.listeners) {
            if !listeners.iter().any(|known| Arc::ptr_eq(known, open)) {
                listeners.push(Arc::clone(open));
            }
        }
        let given = self
            .keeper
            .give(&listeners, &self.to_self, self.null.as_fd());
        let Err(error) = given else {
            self.keeper.failures = 0;
            return;
        };
        let keeper = &mut self.keeper;
        let pause = RESTART_PAUSE * 2u32.saturating_pow(keeper.failures);
        keeper.failures += 1;
        keeper.given = listeners.iter().map(Arc::downgrade).collect();
        keeper.waits = true;
        let pause = pause.min(LONGEST_PAUSE);
        later(
            std::future::ready(()),
            pause,
            &self.to_self,
            keeper.connection,
        );
        if self.keeper.failures == 1 {
            self.bus.publish(EventKind::Warning {
                text: format!(
                    "the keeper does not hold the listeners ({error}); if this supervisor is \
                     killed, another may not be able to adopt the service"
                ),
            });
        }
    }

    /// It was killed, most likely: another one is started.
    pub(super) fn keeper_gone(&mut self, connection: u64) {
        if connection != self.keeper.connection {
            return;
        }
        self.keeper.forget();
        self.keep_listeners();
    }
}
