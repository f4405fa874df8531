//! With whom an instance talks about handovers: a coordinator of ours, or a supervisor of
//! beyond-handoff.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use handover_proto::identity::InstanceId;
use handover_proto::instance::Placement;
use handover_proto::message::FromInstance;
use handover_proto::settings::Ladder;

use crate::beyond::{self, Reactor};
use crate::inheritance::{Inheritance, Native};
use crate::link::{self, LinkEvent};

/// Who is there at the start, or may come.
#[derive(Debug)]
pub(crate) enum Counterpart {
    /// A coordinator of ours waits for a greeting.
    Native(Native),
    /// A supervisor of beyond-handoff does, or will come.
    Beyond(beyond::Terms),
    /// Nobody.
    Nobody,
}

/// Where an incumbent listens for supervisors of beyond-handoff, if the program does not say.
const HANDOFF_SOCKET: &str = "HANDOVER_HANDOFF_SOCKET";

/// Where to listen for them: where the program says, else where its environment does.
pub(crate) fn control(chosen: Option<PathBuf>) -> Option<PathBuf> {
    chosen.or_else(|| {
        let path = std::env::var_os(HANDOFF_SOCKET)?;
        Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty())
    })
}

impl Counterpart {
    /// Takes who is there out of what was inherited. `control`: where to listen for supervisors of
    /// beyond-handoff, by [`control`].
    pub(crate) fn take(
        inheritance: &mut Inheritance,
        control: Option<PathBuf>,
        ladder: Option<Ladder>,
    ) -> Self {
        inheritance.beside_handoff |= control.is_some();
        match (
            inheritance.native.take(),
            inheritance.handoff.take(),
            control,
        ) {
            (Some(native), _, _) => Self::Native(native),
            (None, None, None) => Self::Nobody,
            (None, successor, control) => Self::Beyond(beyond::Terms {
                successor,
                control,
                ladder: ladder.unwrap_or_default(),
            }),
        }
    }

    /// Where the coordinator is that waits for this process to become ready, if one does.
    pub(crate) fn placement(&self) -> Option<Placement> {
        match self {
            Self::Native(native) => Some(native.placement),
            Self::Beyond(terms) => terms.successor.as_ref().map(|_| Placement::Supervisor),
            Self::Nobody => None,
        }
    }

    /// Our number, if it gave us one.
    pub(crate) fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::Native(native) => Some(native.instance),
            Self::Beyond(_) | Self::Nobody => None,
        }
    }

    /// Call inside the runtime.
    pub(crate) fn converse(self) -> io::Result<Conversation> {
        Ok(match self {
            Self::Native(native) => {
                let link = link::Link::open(native.stream, native.reconnect)?;
                Conversation::Native(link)
            }
            Self::Beyond(terms) => Conversation::Beyond(beyond::Link::new(terms)?),
            Self::Nobody => Conversation::Native(link::Link::absent()),
        })
    }
}

/// Either channel; the driver does not care which.
#[derive(Debug)]
pub(crate) enum Conversation {
    Native(link::Link),
    Beyond(beyond::Link<Reactor>),
}

impl Conversation {
    pub(crate) const fn is_open(&self) -> bool {
        match self {
            Self::Native(link) => link.is_open(),
            Self::Beyond(link) => link.is_open(),
        }
    }

    /// Whether somebody can come although nobody was there at the start.
    pub(crate) const fn is_beyond(&self) -> bool {
        matches!(self, Self::Beyond(_))
    }

    /// See [`link::Link::seek`], [`beyond::Link::seek`].
    pub(crate) fn seek(&mut self) {
        match self {
            Self::Native(link) => link.seek(),
            Self::Beyond(link) => link.seek(),
        }
    }

    /// See [`link::Link::attach`].
    pub(crate) fn attach(&mut self, channel: UnixStream) -> io::Result<()> {
        match self {
            Self::Native(link) => link.attach(channel),
            // Nobody takes over by the takeover socket beside it.
            Self::Beyond(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// See [`link::Link::send`], [`beyond::Link::send`].
    pub(crate) fn send(&mut self, message: &FromInstance) {
        match self {
            Self::Native(link) => link.send(message),
            Self::Beyond(link) => link.send(message),
        }
    }

    /// The next thing that happens.
    ///
    /// # Cancel safety
    /// Cancelling loses nothing; a try to connect begins anew.
    pub(crate) async fn event(&mut self) -> LinkEvent {
        match self {
            Self::Native(link) => link.event().await,
            Self::Beyond(link) => link.event().await,
        }
    }
}
