//! What whoever started this process left for it: listeners, a channel, addresses.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use handover_proto::identity::InstanceId;
use handover_proto::instance::Placement;
use handover_sys::inherited::{self, Inherited};
use handover_sys::socket;

use crate::error::StartError;

/// Number of the descriptor that is the channel to the coordinator. It is not counted in
/// `LISTEN_FDS`.
const SOCKET_FD: &str = "HANDOVER_SOCKET_FD";

/// Number of this instance.
const INSTANCE: &str = "HANDOVER_INSTANCE";

/// Where the coordinator is: `incumbent`, or not set for a supervisor.
const COORDINATOR: &str = "HANDOVER_COORDINATOR";

/// Where to find the coordinator's successor.
const NATIVE_SOCKET: &str = "HANDOVER_NATIVE_SOCKET";

/// The name of the service, as its coordinator knows it.
const SERVICE: &str = "HANDOVER_SERVICE";

/// Where systemd, or a supervisor that speaks its protocol, wants to hear `READY=1`.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

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
}

/// What a process inherits, taken out of its environment.
///
/// [`Instance::start`](crate::Instance::start) takes it by itself. Take it by hand when the
/// program starts threads that run C code before its runtime, see [`Inheritance::take`], or to
/// build an instance that inherits nothing: `Inheritance::default()`.
#[derive(Debug, Default)]
pub struct Inheritance {
    pub(crate) listeners: Vec<Inherited>,
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
        let listeners = inherited::take()?;
        let native = match inherited::take_numbered(SOCKET_FD)? {
            Some(fd) => Some(Self::native(fd)?),
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
            native,
            beside_handoff: handoff.is_some()
                || std::env::var_os(WIRE).is_some_and(|wire| wire == "beyond-handoff"),
            handoff,
            notify: std::env::var_os(NOTIFY_SOCKET).filter(|name| !name.is_empty()),
            service: std::env::var(SERVICE).ok(),
        })
    }

    fn native(fd: OwnedFd) -> Result<Native, StartError> {
        let number = std::env::var(INSTANCE).unwrap_or_default();
        let instance = number
            .parse()
            .map(InstanceId)
            .map_err(|_| StartError::BadInstance { found: number })?;
        let placement = match std::env::var_os(COORDINATOR) {
            Some(place) if place == "incumbent" => Placement::Incumbent,
            Some(_) | None => Placement::Supervisor,
        };
        Ok(Native {
            stream: Self::channel_of(fd)?,
            instance,
            placement,
            reconnect: std::env::var_os(NATIVE_SOCKET).map(PathBuf::from),
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
        let facts = socket::describe(&fd).map_err(io::Error::other)?;
        let name = name.into();
        self.listeners.push(Inherited { name, fd, facts });
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
