//! What a process that may be taken over keeps from its start to its end, and from which the
//! coordinator inside it is made when it becomes the incumbent.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use handover_proto::identity::{Generation, InstanceId};
use handover_proto::instance::Placement;
use handover_proto::phase::Mode;
use handover_proto::settings::Ladder;

use super::ask::{self, Begin};
use super::coordinator::{Coordination, Order};
use super::error::TakeoverError;
use super::estate::Estate;
use super::options::Takeover;
use super::pid_file::PidFile;
use super::socket;
use super::spawn::Program;
use super::trigger::Triggers;
use crate::bell::Bell;
use crate::inheritance::{Inheritance, Native, Within};
use crate::ledger::lock;
use crate::notice::Notice;

/// The number of an instance that nobody started before.
const FIRST: InstanceId = InstanceId(1);

/// How long the coordinator may take to hear its own process: it waits for nothing but, for a
/// moment, a busy service manager.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// The part of a process in takeovers.
#[derive(Debug)]
pub(crate) struct Host {
    pub(super) service: String,
    pub(super) options: Takeover,
    pub(super) ladder: Option<Ladder>,
    pub(super) socket: UnixListener,
    pub(crate) instance: InstanceId,
    /// Instances committed, this one included once it is.
    pub(super) generation: Generation,
    /// Whether it takes over from an incumbent that coordinates.
    pub(crate) within: bool,
    pub(crate) estate: Estate,
    pub(super) notice: Notice,
    pub(super) program: Program,
    pub(super) triggers: Option<Triggers>,
    pub(crate) pid_file: Option<PidFile>,
    /// A process that we started serves in our place: systemd was told.
    pub(crate) replaced: AtomicBool,
    /// To the coordinator, while there is one.
    desk: Mutex<Option<Desk>>,
}

#[derive(Debug)]
struct Desk {
    orders: mpsc::Sender<Order>,
    bell: Arc<Bell>,
}

/// Opens what a program with these options needs, and takes over if somebody serves. `None` where
/// somebody else decides about this process. Blocks for up to some seconds.
///
/// What is taken over is found in `inheritance` afterwards, as if it had been inherited.
pub(crate) fn open(
    options: Takeover,
    name: &str,
    inheritance: &mut Inheritance,
    ladder: Option<Ladder>,
) -> Result<Option<Arc<Host>>, TakeoverError> {
    if inheritance.handoff.is_some() || inheritance.beside_handoff {
        tracing::debug!("beside beyond-handoff nobody takes over by the takeover socket");
        return Ok(None);
    }
    let service = inheritance.service.clone().unwrap_or_else(|| name.into());
    let triggers = match options.signals {
        true if inheritance.is_left_alone() => {
            Some(Triggers::install().map_err(TakeoverError::Resources)?)
        }
        _ => None,
    };
    let place = match &mut inheritance.native {
        Some(native) => match native.within.take() {
            Some(within) => left_by(within, &options, &service)?,
            // A supervisor decides.
            None => return Ok(None),
        },
        None => taken(&options, &service, inheritance)?,
    };
    let Place {
        socket,
        generation,
        held,
        within,
    } = place;
    let instance = inheritance
        .native
        .as_ref()
        .map_or(FIRST, |native| native.instance);
    let estate = Estate::new(held);
    // Until it serves, whoever gave it its listeners has them too, and whatever waits in them.
    estate.grant(within);
    Ok(Some(Arc::new(Host {
        service,
        ladder,
        socket,
        instance,
        generation,
        within,
        estate,
        notice: Notice::new(inheritance.notify.clone()),
        program: Program::own().map_err(TakeoverError::Resources)?,
        triggers,
        pid_file: options.pid_file.clone().map(PidFile::new),
        replaced: AtomicBool::new(false),
        desk: Mutex::default(),
        options,
    })))
}

struct Place {
    socket: UnixListener,
    generation: Generation,
    held: Vec<String>,
    within: bool,
}

/// Started by the incumbent.
fn left_by(within: Within, options: &Takeover, service: &str) -> Result<Place, TakeoverError> {
    let socket = match within.socket {
        Some(socket) => socket.into(),
        // The version before had none; whoever is at the path is somebody else.
        None => handover_sys::control::bind_private(path(options, service)?)?,
    };
    Ok(Place {
        socket,
        generation: within.generation.next(),
        held: within.held,
        within: true,
    })
}

/// Started by anybody else.
fn taken(
    options: &Takeover,
    service: &str,
    inheritance: &mut Inheritance,
) -> Result<Place, TakeoverError> {
    let taken = match ask::begin(&path(options, service)?, service)? {
        Begin::Cold(socket) => {
            // Whoever started us holds what we inherited.
            let held = inheritance.names().map(str::to_owned).collect();
            return Ok(Place {
                socket,
                generation: Generation(1),
                held,
                within: false,
            });
        }
        Begin::Taking(taken) => taken,
    };
    tracing::info!(service, instance = %taken.instance, "taking over");
    // Of two listeners of one name the one in use counts; the other was never served.
    let mut listeners = taken.listeners;
    let ours = std::mem::take(&mut inheritance.listeners);
    let known = |name: &str| listeners.iter().any(|listener| listener.name == name);
    let more: Vec<_> = ours.into_iter().filter(|own| !known(&own.name)).collect();
    let mut held = taken.held;
    held.extend(more.iter().map(|listener| listener.name.clone()));
    listeners.extend(more);
    inheritance.listeners = listeners;
    inheritance.native = Some(Native {
        stream: taken.channel,
        instance: taken.instance,
        placement: Placement::Incumbent,
        reconnect: None,
        within: None,
    });
    Ok(Place {
        socket: taken.socket,
        generation: taken.generation.next(),
        held,
        within: true,
    })
}

fn path(options: &Takeover, service: &str) -> Result<PathBuf, TakeoverError> {
    socket::path_of(options, service)
}

impl Inheritance {
    /// Whether no supervisor decides about this process.
    fn is_left_alone(&self) -> bool {
        let supervised = |native: &Native| native.placement == Placement::Supervisor;
        !self.native.as_ref().is_some_and(supervised)
    }
}

impl Host {
    /// This process is the incumbent: begins to coordinate, and returns the end of the channel on
    /// which its own instance greets the coordinator.
    ///
    /// # Errors
    /// No thread or no descriptor is to be had. Nobody coordinates then.
    pub(crate) fn start(self: &Arc<Self>, mode: Mode) -> io::Result<UnixStream> {
        socket::renew(&self.socket)?;
        self.estate.grant(false);
        let (ours, theirs) = UnixStream::pair()?;
        let (sender, orders) = mpsc::channel();
        let bell = Arc::new(Bell::new()?);
        let desk = Desk {
            orders: sender,
            bell: Arc::clone(&bell),
        };
        let coordination = Coordination::new(Arc::clone(self), mode, ours, orders, bell)?;
        std::thread::Builder::new()
            .name("handover-takeover".into())
            .spawn(move || coordination.run())?;
        *lock(&self.desk) = Some(desk);
        Ok(theirs)
    }

    /// Our own instance was told to go, by a signal or by its program. Returns when a successor
    /// that we started has been told too: our process may end next, and it would take that for a
    /// death.
    pub(crate) fn terminate(&self) {
        let (heard, hears) = mpsc::channel();
        self.tell(Order::Terminate(heard));
        // An error is the answer of a coordinator that is not there.
        let _ = hears.recv_timeout(HEARD_WITHIN);
    }

    /// Our own instance is about to close its listeners.
    pub(crate) fn leave(&self) {
        self.estate.close();
        self.tell(Order::Leave);
    }

    fn tell(&self, order: Order) {
        if let Some(desk) = &*lock(&self.desk) {
            // The coordinator has ended if nobody hears it.
            let _ = desk.orders.send(order);
            desk.bell.ring();
        }
    }

    /// Whether a process that this one started serves in its place.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}
