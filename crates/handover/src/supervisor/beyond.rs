//! Instances that speak beyond-handoff (0.1.4), beside those that speak our own protocol.
//!
//! With the wire `beyond-handoff` every instance is offered both: theirs on `HANDOFF_SOCK_FD`,
//! right after the listeners, and ours on `HANDOVER_SOCKET_FD` behind it. The channel it greets on
//! is the one that is used, so a service moves from their library to ours by an upgrade like any
//! other, and back.
//!
//! Where nobody serves, an instance is started as their supervisor starts its first: with the
//! listeners and without `HANDOFF_ROLE`. It serves once its control socket answers.

mod session;

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use handover_proto::beyond::{Aside, Birth, OVERALL, Peer};
use handover_proto::identity::{HandoverId, InstanceId, InstancePid};
use handover_proto::message::ToInstance;
use handover_proto::moment::Moment;
use handover_proto::settings::Settings;

use super::config::{Config, Wire};
use super::driver::Driver;
use super::error::StartError;
use super::process::Process;
use session::Session;

pub(super) use session::Task;

/// The role of their successors.
const ROLE: (&str, &str) = ("HANDOFF_ROLE", "successor");
/// The number of the descriptor that is their channel.
const SOCKET: &str = "HANDOFF_SOCK_FD";

/// What all instances of theirs share.
#[derive(Clone, Debug)]
pub(super) struct Foreign {
    /// Where an incumbent of theirs listens.
    control: PathBuf,
    aside: Arc<Mutex<Aside>>,
}

/// Their channel of an instance that is about to start.
#[derive(Debug)]
pub(super) struct Channel {
    ours: UnixStream,
    theirs: OwnedFd,
}

impl Channel {
    /// The instance's end, which goes right after `listeners` others.
    pub(super) const fn end(&self) -> &OwnedFd {
        &self.theirs
    }

    /// What tells a program of theirs that it is a successor.
    pub(super) fn environment(listeners: usize) -> [(&'static str, String); 2] {
        let number = 3 + listeners;
        [(ROLE.0, ROLE.1.into()), (SOCKET, number.to_string())]
    }
}

impl Foreign {
    /// `None` unless the configuration asks for their wire.
    ///
    /// # Errors
    /// [`StartError::WireNeeds`] when something is missing that it needs.
    pub(super) fn configured(config: &Config) -> Result<Option<Self>, StartError> {
        if config.wire == Wire::Native {
            return Ok(None);
        }
        let needs = |what| Err(StartError::WireNeeds { what });
        if config.mode != handover_proto::phase::Mode::Exclusive {
            return needs("--exclusive");
        }
        let Some(control) = &config.handoff_socket else {
            return needs("--handoff-socket, the path its incumbent binds");
        };
        let base = config.directory.as_deref().unwrap_or(Path::new(""));
        let control = base.join(control);
        Ok(Some(Self {
            control: std::path::absolute(&control).unwrap_or(control),
            aside: Arc::default(),
        }))
    }

    fn with_aside<T>(&self, look: impl FnOnce(&mut Aside) -> T) -> T {
        // Plain values: whoever panicked left none half written.
        look(&mut self.aside.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Driver {
    /// A channel of theirs for the successor that is about to start; none for one that starts
    /// where nobody serves.
    pub(super) fn foreign_channel(&self) -> Result<Option<Channel>, String> {
        if self.foreign.is_none() || self.machine.incumbent().is_none() {
            return Ok(None);
        }
        let (ours, theirs) = UnixStream::pair().map_err(|error| error.to_string())?;
        ours.set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let theirs = theirs.into();
        Ok(Some(Channel { ours, theirs }))
    }

    /// Listens for an instance that may turn out to speak their protocol.
    pub(super) fn listen_foreign(
        &self,
        instance: InstanceId,
        process: &mut Process,
        channel: Option<Channel>,
        birth: Birth,
    ) {
        let Some(foreign) = self.foreign.clone() else {
            return;
        };
        let attempt = self.machine.attempt();
        let attempt = attempt.map_or(HandoverId::default(), |(id, _)| id);
        let overall = overall(&self.config.settings());
        let pid = InstancePid(process.pid);
        let peer = Peer::new(Moment::ZERO, birth, instance, pid, attempt, overall);
        let candidate = self.candidates.get(&process.candidate);
        let names = candidate.map(|candidate| {
            let all = candidate.listeners.iter();
            all.map(|open| open.entry.name.clone()).collect()
        });
        let stop = handover_sys::Signal::from_name(&self.config.stop_signal);
        let session = Session::new(
            peer.with_listeners(names.unwrap_or_default()),
            (instance, Arc::clone(&process.pidfd)),
            stop.unwrap_or(handover_sys::Signal::TERM),
            foreign,
            self.to_self.clone(),
        );
        let stream = channel.map(|channel| channel.ours);
        process.foreign = Some(session.begin(stream));
    }

    /// The message as `to` should hear it, if at all: state crosses on a channel of its own only
    /// between two instances of ours.
    pub(super) fn adapted(&self, to: InstanceId, message: ToInstance) -> Option<ToInstance> {
        let Some(foreign) = &self.foreign else {
            return Some(message);
        };
        let (incumbent, successor) = (self.machine.incumbent(), self.machine.successor());
        if let Some(successor) = successor.and_then(|member| member.pid) {
            foreign.with_aside(|aside| aside.successor = successor.0);
        }
        let theirs = [incumbent, successor]
            .into_iter()
            .flatten()
            .any(|member| self.is_theirs(member.instance));
        self.mind_blocking(to, &message);
        match message {
            ToInstance::Introduce { .. } if theirs => None,
            ToInstance::Welcome {
                version,
                mode,
                incumbent,
                introduced,
            } => Some(ToInstance::Welcome {
                version,
                mode,
                incumbent,
                introduced: introduced && !theirs && !self.is_theirs(to),
            }),
            other => Some(other),
        }
    }

    /// A program of theirs expects listeners that block. An instance of ours that gives up its place
    /// sees to that itself; one that died could not.
    fn mind_blocking(&self, to: InstanceId, message: &ToInstance) {
        if !self.is_theirs(to) || !matches!(message, ToInstance::Activate { .. }) {
            return;
        }
        let candidates = self.candidates.values();
        for listener in candidates.flat_map(|candidate| &candidate.listeners) {
            // An open socket takes it.
            let _ = rustix::io::ioctl_fionbio(listener.as_fd(), false);
        }
    }

    fn is_theirs(&self, instance: InstanceId) -> bool {
        let process = self.processes.get(&instance);
        process.is_some_and(|process| process.foreign.as_ref().is_some_and(Task::is_chosen))
    }
}

/// The most a handover may take: what the steps may take together, and no less than theirs.
fn overall(settings: &Settings) -> std::time::Duration {
    let steps = settings.drain + settings.seal + settings.activate;
    steps.max(OVERALL)
}
