//! What whoever started this process left for it: listeners, a channel, addresses.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::instance::Placement;
use handover_sys::inherited::{self, Inherited, InheritedFile};

use crate::error::StartError;
use crate::notice::socket_of_environment;

/// Variables by which one process of a service tells the next what it left for it.
pub(crate) mod variable {
    /// Number of the descriptor that is the channel to the coordinator. It is not counted in
    /// `LISTEN_FDS`.
    pub(crate) const SOCKET_FD: &str = "HANDOVER_SOCKET_FD";
    /// Number of this instance.
    pub(crate) const INSTANCE: &str = "HANDOVER_INSTANCE";
    /// Where to find the coordinator's successor.
    pub(crate) const NATIVE_SOCKET: &str = "HANDOVER_NATIVE_SOCKET";
    /// The name of the service, as its coordinator knows it.
    pub(crate) const SERVICE: &str = "HANDOVER_SERVICE";
    /// Which process coordinates: [`INCUMBENT`], or not set when it is a supervisor.
    pub(crate) const COORDINATOR: &str = "HANDOVER_COORDINATOR";
    /// The one that serves.
    pub(crate) const INCUMBENT: &str = "incumbent";
    /// Number of the descriptor that is the takeover socket; see [`COORDINATOR`].
    pub(crate) const TAKEOVER_FD: &str = "HANDOVER_TAKEOVER_FD";
    /// How many instances were committed before this one.
    pub(crate) const GENERATION: &str = "HANDOVER_GENERATION";
    /// Names of the listeners that somebody outside the service holds, separated by colons.
    pub(crate) const HELD: &str = "HANDOVER_HELD";
    /// Those that say nothing to whom they were not addressed.
    pub(crate) const OURS: &[&str] = &[
        SOCKET_FD,
        INSTANCE,
        NATIVE_SOCKET,
        COORDINATOR,
        TAKEOVER_FD,
        GENERATION,
        HELD,
    ];
}

use variable::{
    COORDINATOR, GENERATION, HELD, INCUMBENT, INSTANCE, NATIVE_SOCKET, SERVICE, SOCKET_FD,
    TAKEOVER_FD,
};

/// Who we are to a supervisor of beyond-handoff (0.1.4): `successor`, or not set.
const HANDOFF_ROLE: &str = "HANDOFF_ROLE";

/// Number of the descriptor that is the channel to it.
const HANDOFF_SOCKET_FD: &str = "HANDOFF_SOCK_FD";

/// What a coordinator of ours lets instances speak; `beyond-handoff`: programs of that crate may
/// take their turn on our data directory and listeners.
const WIRE: &str = "HANDOVER_WIRE";

/// The channel to a coordinator, and who we are to it.
#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) stream: UnixStream,
    pub(crate) instance: InstanceId,
    pub(crate) placement: Placement,
    /// Where to knock when the channel breaks.
    pub(crate) reconnect: Option<PathBuf>,
    /// Set when the coordinator is inside the incumbent, so that they end together.
    pub(crate) within: Option<Within>,
}

/// What an incumbent that coordinates leaves besides.
#[derive(Debug)]
pub(crate) struct Within {
    /// The takeover socket, unless the incumbent has none.
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) generation: Generation,
    /// Names of the listeners that somebody outside the service holds.
    pub(crate) held: Vec<String>,
}

/// What a process inherits, taken out of its environment.
///
/// [`Instance::start`](crate::Instance::start) takes it by itself. Take it by hand when the
/// program starts threads that run C code before its runtime, see [`Inheritance::take`], or to
/// build an instance that inherits nothing: `Inheritance::default()`.
#[derive(Debug, Default)]
pub struct Inheritance {
    pub(crate) listeners: Vec<Inherited>,
    /// What was passed with them and is no socket: memory that an earlier process stored.
    pub(crate) files: Vec<InheritedFile>,
    pub(crate) native: Option<Native>,
    /// The channel to a supervisor of beyond-handoff.
    pub(crate) handoff: Option<UnixStream>,
    /// Whether programs of beyond-handoff may come before or after us.
    pub(crate) beside_handoff: bool,
    pub(crate) notify: Option<OsString>,
    pub(crate) service: Option<String>,
}

impl Inheritance {
    /// Takes the descriptors announced by `LISTEN_FDS` (systemd, `sd_listen_fds(3)`), by
    /// `HANDOVER_SOCKET_FD`, and by `HANDOFF_SOCK_FD` with `HANDOFF_ROLE=successor`, sets close-on-exec on them, and removes these variables with their
    /// companions so that no child believes them. `NOTIFY_SOCKET` stays for children.
    ///
    /// It changes the environment of the process. Rust code is safe against that; C code that
    /// calls `getenv` in another thread at the same moment is not. At the beginning of an async
    /// `main` there is no such code.
    ///
    /// # Errors
    /// [`StartError::Inherit`], [`StartError::Channel`], [`StartError::BadInstance`]. After
    /// `Inherit` for `LISTEN_FDS` nothing has changed.
    pub fn take() -> Result<Self, StartError> {
        let (listeners, files) = inherited::take_with_files()?;
        let within = Self::within()?;
        let native = match inherited::take_numbered(SOCKET_FD)? {
            Some(fd) => Some(Self::native(fd, within)?),
            None => None,
        };
        let role = inherited::take_variable(HANDOFF_ROLE);
        let handoff = match inherited::take_numbered(HANDOFF_SOCKET_FD)? {
            // Whoever offers both protocols is a coordinator of ours.
            Some(fd) if native.is_none() && role.as_deref() == Some("successor") => {
                Some(Self::channel_of(fd)?)
            }
            Some(_) | None => None,
        };
        Ok(Self {
            listeners,
            files,
            native,
            beside_handoff: handoff.is_some()
                || std::env::var_os(WIRE).is_some_and(|wire| wire == "beyond-handoff"),
            handoff,
            notify: socket_of_environment(),
            service: std::env::var(SERVICE).ok(),
        })
    }

    fn within() -> Result<Option<Within>, StartError> {
        let coordinator = inherited::take_variable(COORDINATOR);
        let socket = inherited::take_numbered(TAKEOVER_FD)?;
        let generation = inherited::take_variable(GENERATION);
        let held = inherited::take_variable(HELD).unwrap_or_default();
        Ok((coordinator.as_deref() == Some(INCUMBENT)).then(|| Within {
            socket,
            // For people only; a number that is none costs nothing.
            generation: Generation(generation.and_then(|text| text.parse().ok()).unwrap_or(1)),
            held: held
                .split(':')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        }))
    }

    fn native(fd: OwnedFd, within: Option<Within>) -> Result<Native, StartError> {
        let number = std::env::var(INSTANCE).unwrap_or_default();
        let instance = number
            .parse()
            .map(InstanceId)
            .map_err(|_| StartError::BadInstance { found: number })?;
        Ok(Native {
            stream: Self::channel_of(fd)?,
            instance,
            placement: match within {
                Some(_) => Placement::Incumbent,
                None => Placement::Supervisor,
            },
            reconnect: std::env::var_os(NATIVE_SOCKET)
                .filter(|_| within.is_none())
                .map(PathBuf::from),
            within,
        })
    }

    fn channel_of(fd: OwnedFd) -> Result<UnixStream, StartError> {
        let stream = UnixStream::from(fd);
        // Answers for a connected stream socket only.
        stream.peer_addr().map_err(StartError::Channel)?;
        Ok(stream)
    }

    /// Adds a listener that came in another way, as if it had been inherited under `name`.
    ///
    /// # Errors
    /// It is not a socket, or the kernel does not say what it is; it is closed.
    pub fn listener(mut self, name: impl Into<String>, fd: OwnedFd) -> io::Result<Self> {
        self.listeners.push(Inherited::new(name, fd)?);
        Ok(self)
    }

    /// Makes this the channel to a coordinator, to which we are `instance`. When it breaks, a new
    /// coordinator is looked for at the Unix socket `reconnect`.
    #[must_use]
    pub fn channel(
        mut self,
        stream: UnixStream,
        instance: InstanceId,
        reconnect: Option<PathBuf>,
    ) -> Self {
        self.native = Some(Native {
            stream,
            instance,
            placement: Placement::Supervisor,
            reconnect,
            within: None,
        });
        self
    }

    /// Makes this the channel to an incumbent that coordinates its own handover, to which we are
    /// `instance`. It closes without a word only by the incumbent's end; then this instance goes
    /// on alone (I11).
    #[must_use]
    pub fn channel_to_incumbent(mut self, stream: UnixStream, instance: InstanceId) -> Self {
        self.native = Some(Native {
            stream,
            instance,
            placement: Placement::Incumbent,
            reconnect: None,
            within: None,
        });
        self
    }

    /// Makes this the socket to send `READY=1` to, written as in `NOTIFY_SOCKET`. It is not used
    /// beside a channel.
    #[must_use]
    pub fn notify(mut self, socket: impl Into<OsString>) -> Self {
        self.notify = Some(socket.into());
        self
    }

    /// Whether a coordinator waits for this process to greet it.
    #[must_use]
    pub const fn is_supervised(&self) -> bool {
        self.native.is_some() || self.handoff.is_some()
    }

    /// Names of the listeners, in the order they were passed; `unknown` for one without a name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.listeners.iter().map(|entry| entry.name.as_str())
    }
}
