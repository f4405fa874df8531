//! From a description to a node that takes part.

use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use handover_hub_proto::identity::{HubName, NodeId, NodeName};
use handover_hub_proto::node::{Failure, Handed, Node, OnFailure, Settings, StartOptions};
use handover_hub_proto::view::{EngineOrder, Guarantees, Load, Member, Standing};
use handover_proto::moment::Moment;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Builder;
use crate::calls::Calls;
use crate::cells::Cells;
use crate::child::ChildSpec;
use crate::driver::{Driver, Sources, Stage, ToEngine};
use crate::engine::{Charter, Post, Session};
use crate::error::{CommandError, StartError};
use crate::hub::running::{Reins, Seat, View};
use crate::hub::{Hub, Shared};
use crate::registry::Registry;
use crate::timers::{self, Timers};
use crate::transport::remote::{Remote, Settings as RemoteSettings};
use crate::transport::{
    Frame, Incoming, Introduction, Limits, PeerEvent, Security, Transport, carry,
};
use crate::{inbound, load};

/// Commands that wait for the machine; whoever has more waits.
const ORDERS: usize = 256;

/// How often what moved away long ago is forgotten.
const SWEEP: Duration = Duration::from_secs(5);

pub(super) async fn start(mut builder: Builder) -> Result<Hub, StartError> {
    if let Some(wrong) = builder.wrong.take() {
        return Err(wrong);
    }
    let joined = join(&mut builder).await?;
    let children = std::mem::take(&mut builder.children);
    let (hub, mut staged) = assemble(builder, joined, None).await?;
    hub.serve_operators().await?;
    is_ready(&mut staged).await?;
    start_static(&hub, children).await?;
    Ok(hub)
}

/// Waits until the engine has said who else is there.
pub(crate) async fn is_ready(staged: &mut watch::Receiver<Stage>) -> Result<(), StartError> {
    let waited = staged.wait_for(|stage| *stage != Stage::Joining).await;
    if waited.map_or(Stage::Left, |stage| *stage) == Stage::Left {
        return Err(StartError::Ended);
    }
    Ok(())
}

/// A node that its engine knows and that does nothing yet.
pub(super) struct Joined {
    pub(super) name: HubName,
    pub(super) me: Member,
    pub(super) guarantees: Guarantees,
    pub(super) ends: Ends,
    pub(super) session: Session,
}

/// What a node has of its transport.
pub(super) struct Ends {
    pub(super) transport: Arc<dyn Transport>,
    control: mpsc::Receiver<(NodeId, Frame)>,
    calls: mpsc::Receiver<(NodeId, Frame)>,
    states: mpsc::Receiver<(NodeId, Frame)>,
    peers: mpsc::Receiver<PeerEvent>,
}

/// What the program before left of the node itself.
pub(super) struct Left {
    pub(super) machine: Handed,
    /// The number of the next call.
    pub(super) calls: u64,
}

/// Connects, then becomes a member.
async fn join(builder: &mut Builder) -> Result<Joined, StartError> {
    let name = HubName::new(&builder.name)?;
    let node = match &builder.node {
        Some(node) => NodeName::new(node)?,
        None => NodeName::new(&host_name())?,
    };
    let Some(engine) = builder.engine.take() else {
        return Err(StartError::NoEngine);
    };
    let shards = builder.settings.shards;
    if shards == 0 {
        return Err(StartError::NoShards);
    }
    let guarantees = engine.guarantees();
    let charter = Charter {
        hub: name.clone(),
        shards,
        agreement: builder.settings.agreement(),
    };
    let introduction = Introduction {
        hub: name.clone(),
        shards,
        node: random()?,
        name: node,
        instance: 1,
        address: String::new(),
        agreement: charter.agreement,
    };
    let (ends, post) = connect(builder, introduction, false).await?;
    let me = member(builder, ends.transport.me());
    let session = engine.start(me.clone(), charter, post).await?;
    Ok(Joined {
        name,
        me,
        guarantees,
        ends,
        session,
    })
}

/// All parts of a node: at work, or, with what a predecessor left, at rest.
pub(super) async fn assemble(
    builder: Builder,
    joined: Joined,
    left: Option<Left>,
) -> Result<(Hub, watch::Receiver<Stage>), StartError> {
    let (session, ends) = (joined.session, joined.ends);
    let (orders, ordered) = mpsc::channel(ORDERS);
    let (hold, holds) = mpsc::channel(1);
    let (reports, reported) = mpsc::unbounded_channel();
    let (loads, measured) = mpsc::channel(1);
    let mut settings = builder.settings;
    settings.guarantees = joined.guarantees;
    let registry = Registry::new(settings.shards);
    let every = settings.load;
    let handlers = Arc::new(builder.handlers);
    let shared = Arc::new(Shared {
        name: joined.name,
        me: joined.me.id,
        node: joined.me.name.clone(),
        began: Instant::now(),
        runtime: Handle::current(),
        kinds: builder.kinds,
        registry: registry.clone(),
        cells: Cells::new(),
        calls: Calls::new(joined.me.id, left.as_ref().map_or(1, |left| left.calls)),
        timers: Timers::new(),
        transport: ends.transport,
        checkpoints: builder.checkpoints,
        limits: builder.limits,
        message_limit: Limits::default().frame / 2,
        state_limit: builder.state_limit,
        intensity: builder.intensity,
        redundancy: settings.redundancy,
        events: handlers.events(),
        view: RwLock::new(View::default()),
        validity: OnceLock::from(session.valid),
        still: AtomicBool::new(false),
        departs: AtomicBool::new(false),
        held: AtomicBool::new(left.is_some()),
        gone: AtomicBool::new(false),
        orders,
        reports,
        ended: watch::Sender::new(false),
        seat: OnceLock::new(),
        handlers: Arc::clone(&handlers),
    });
    let machine = machine(settings, joined.me, left, registry);
    let (stage, staged) = watch::channel(Stage::Joining);
    let (engine_queue, engine_queued) = mpsc::unbounded_channel();
    let driver = Driver::new(Arc::clone(&shared), machine, engine_queue, stage, handlers);
    let sources = Sources {
        engine: session.events,
        control: ends.control,
        peers: ends.peers,
        orders: ordered,
        reports: reported,
        loads: measured,
        holds,
    };
    let mut tasks = serve(&shared, [ends.calls, ends.states], (every, loads));
    tasks.push(shared.spawn(driver.run(sources, shared.is_held())));
    tasks.push(shared.spawn(pass_on(engine_queued, session.orders)));
    let reins = Reins {
        driver: hold,
        engine: session.seat,
        instance: shared.transport.me().instance,
        served: (builder.served, joined.guarantees),
    };
    Ok((hub(shared, tasks, reins), staged))
}

/// The machine of a node that is new, or goes on.
fn machine(
    settings: Settings,
    me: Member,
    left: Option<Left>,
    registry: Registry,
) -> Node<Registry> {
    match left {
        Some(left) => Node::handed(settings, left.machine, registry, Moment::ZERO),
        None => Node::new(settings, me, registry, Moment::ZERO),
    }
}

/// What runs beside the driver.
fn serve(
    shared: &Arc<Shared>,
    arrivals: [mpsc::Receiver<(NodeId, Frame)>; 2],
    (every, loads): (Duration, mpsc::Sender<Load>),
) -> Vec<AbortHandle> {
    let take = |arrived| shared.spawn(inbound::take(Arc::clone(shared), arrived));
    let mut tasks: Vec<_> = arrivals.into_iter().map(take).collect();
    tasks.push(shared.spawn(timers::tick(Arc::clone(shared))));
    tasks.push(shared.spawn(sweep(Arc::clone(shared))));
    tasks.push(shared.spawn(load::tell(Arc::clone(shared), every, loads)));
    tasks
}

fn hub(shared: Arc<Shared>, tasks: Vec<AbortHandle>, reins: Reins) -> Hub {
    let seat = Arc::new(Seat {
        shared,
        tasks,
        operations: Mutex::default(),
        reins,
    });
    let _ = seat.shared.seat.set(Arc::downgrade(&seat));
    Hub { seat }
}

/// The machine does not wait for an engine that is slow to take its orders.
async fn pass_on(mut queued: mpsc::UnboundedReceiver<ToEngine>, to: mpsc::Sender<EngineOrder>) {
    while let Some(order) = queued.recv().await {
        match order {
            ToEngine::After(gate) => gate.wait().await,
            ToEngine::Order(order) => {
                if to.send(order).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        shared.cells.sweep(Instant::now());
    }
}

/// How long the static children may take to start: the nodes of a hub that begin together have much
/// to tell each other.
const STATIC: Duration = Duration::from_secs(60);

/// Starts the static children; one that runs already is as good as started.
pub(crate) async fn start_static(hub: &Hub, children: Vec<ChildSpec>) -> Result<(), StartError> {
    if children.is_empty() {
        return Ok(());
    }
    let options = StartOptions {
        check_existing: false,
        on_failure: OnFailure::Continue,
        timeout: STATIC,
    };
    let failed = |error: CommandError| StartError::Child(Box::new(error));
    let started = hub
        .start_children(children, options)
        .await
        .map_err(failed)?;
    let not_there = |(_, failure): &(_, Failure)| !matches!(failure, Failure::AlreadyStarted(_));
    match started.failed.into_iter().find(not_there) {
        Some((_, failure)) => Err(failed(failure.into())),
        None => Ok(()),
    }
}

/// Connects to nobody yet; lets nobody in either, if it rests.
pub(super) async fn connect(
    builder: &mut Builder,
    me: Introduction,
    rests: bool,
) -> Result<(Ends, Post), StartError> {
    let (transport, incoming) = reach(builder, me, rests).await?;
    let Incoming {
        control,
        calls,
        states,
        events: peers,
        engine: letters,
    } = incoming;
    let (post, postman) = Post::new();
    tokio::spawn(carry(Arc::clone(&transport), letters, postman));
    let ends = Ends {
        transport,
        control,
        calls,
        states,
        peers,
    };
    Ok((ends, post))
}

async fn reach(
    builder: &mut Builder,
    mut me: Introduction,
    rests: bool,
) -> Result<(Arc<dyn Transport>, Incoming), StartError> {
    if let Some(network) = &builder.network {
        if me.address.is_empty() {
            me.address = match &builder.listen {
                Some(address) => address.clone(),
                None => me.name.to_string(),
            };
        }
        return Ok(network.join(me, Limits::default()));
    }
    let security = match &builder.tls {
        Some(tls) => Security::Tls(tls.clone()),
        None if builder.insecure => Security::Insecure,
        None => Security::Loopback,
    };
    let (bound, socket) = match (builder.socket.take(), builder.listen.clone()) {
        (Some(socket), address) => (address.unwrap_or_default(), socket),
        (None, Some(address)) => bind(address).await?,
        (None, None) => return Err(StartError::NoAddress),
    };
    // What peers dial is what was said, but for a port that the kernel chose.
    if me.address.is_empty() && !bound.ends_with(":0") {
        me.address = bound;
    }
    let settings = RemoteSettings::default();
    let (transport, incoming) = if rests {
        Remote::resting(me, socket, security, settings)?
    } else {
        Remote::listen(me, socket, security, settings)?
    };
    Ok((transport, incoming))
}

/// Names are looked up by the system, which may take a while.
async fn bind(address: String) -> Result<(String, TcpListener), StartError> {
    let bound = tokio::task::spawn_blocking(move || {
        let bound = TcpListener::bind(&address);
        (address, bound)
    });
    match bound.await {
        Ok((address, Ok(socket))) => Ok((address, socket)),
        Ok((address, Err(error))) => Err(StartError::Address {
            address,
            reason: error.to_string(),
        }),
        Err(_) => Err(StartError::Ended),
    }
}

pub(super) fn member(builder: &Builder, introduction: &Introduction) -> Member {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Member {
        id: introduction.node,
        name: introduction.name.clone(),
        address: introduction.address.clone(),
        weight: builder.weight,
        version: builder.version.clone(),
        joined_ms: since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
        standing: Standing::Serving,
        load: Load::default(),
    }
}

/// A number that no other run of any node has, by the kernel's random numbers.
fn random() -> Result<NodeId, StartError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Random(error.to_string()))?;
    Ok(NodeId(u64::from_le_bytes(bytes)))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
