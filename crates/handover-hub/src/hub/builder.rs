//! How a node is described and started.

mod resume;
mod start;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::hook::{Handler, Hook};
use handover_hub_proto::identity::KindName;
use handover_hub_proto::intensity::Intensity;
use handover_hub_proto::mailbox::Limits;
use handover_hub_proto::migration;
use handover_hub_proto::node::{Moves, Settings};
use handover_hub_proto::partition::Rule;
use handover_hub_proto::placement::Distribution;
use handover_hub_proto::redundancy::Redundancy;

pub(crate) use self::start::{is_ready, start_static};
use super::Hub;
use crate::admin::Wanted;
use crate::checkpoint::{Checkpoints, Store};
use crate::child::ChildSpec;
use crate::dashboard::Dashboard;
use crate::engine::Engine;
use crate::error::StartError;
use crate::handlers::{Alter, Call, Code, Handlers};
use crate::kind::{Kinds, Schemas};
use crate::process::Process;
use crate::transport::Tls;
use crate::transport::local::Network;

/// Bytes of the state of a process that moves, unless set.
const STATE_LIMIT: u64 = 64 << 20;

/// A node of a hub that does not run yet. Whatever is wrong with it is said by
/// [`start`](Self::start).
pub struct Builder {
    name: String,
    node: Option<String>,
    listen: Option<String>,
    socket: Option<TcpListener>,
    insecure: bool,
    tls: Option<Tls>,
    network: Option<Network>,
    weight: u32,
    version: String,
    settings: Settings,
    intensity: Intensity,
    limits: Limits,
    state_limit: u64,
    engine: Option<Box<dyn Engine>>,
    kinds: Kinds,
    children: Vec<ChildSpec>,
    checkpoints: Option<Checkpoints>,
    handlers: Handlers,
    served: Wanted,
    /// The first thing that was wrong.
    wrong: Option<StartError>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            node: None,
            listen: None,
            socket: None,
            insecure: false,
            tls: None,
            network: None,
            weight: 100,
            version: String::new(),
            settings: Settings::default(),
            intensity: Intensity::default(),
            limits: Limits::default(),
            state_limit: STATE_LIMIT,
            engine: None,
            kinds: Kinds::default(),
            children: Vec::new(),
            checkpoints: None,
            handlers: Handlers::default(),
            served: Wanted::default(),
            wrong: None,
        }
    }

    /// This node's name, unique in its hub. The host's name, unless set.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = Some(name.to_owned());
        self
    }

    /// Where peers reach this node: `host:port`. Port 0 takes any that is free. Without
    /// [`tls`](Self::tls) or [`insecure`](Self::insecure) it must be a loopback address.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
        self
    }

    /// Listens on this socket, which is bound already, at the address that peers know by
    /// [`listen`](Self::listen); without it, at the socket's own.
    #[must_use]
    pub fn socket(mut self, socket: TcpListener) -> Self {
        self.socket = Some(socket);
        self
    }

    /// Only nodes with a certificate of the hub's authority take part, and all that they tell each
    /// other is encrypted.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Whoever reaches the address may take part: for a network that is closed.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Its share of shards against that of other nodes; 100, unless set.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The version of the program, for people.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Parts into which the ids of processes are divided, the same on all nodes of the hub.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.settings.shards = shards;
        self
    }

    /// Who says where a new child runs: the home of its shard unless set, whoever starts it, or the
    /// load of the nodes. The same on all nodes of the hub.
    ///
    /// ```
    /// use handover_hub::Hub;
    /// use handover_hub::proto::balance::Balancing;
    /// use handover_hub::proto::placement::Distribution;
    ///
    /// let _ = Hub::builder("sessions").distribution(Distribution::LoadBalanced(Balancing::default()));
    /// ```
    #[must_use]
    pub fn distribution(mut self, distribution: Distribution) -> Self {
        self.settings.distribution = distribution;
        self
    }

    /// How many nodes run a child, and as what; one, unless set. The same on all nodes of the hub.
    ///
    /// ```
    /// use handover_hub::Hub;
    /// use handover_hub::proto::redundancy::{Factor, Model, Redundancy, Signal};
    ///
    /// // One answers calls, another one has its state and takes over.
    /// let _ = Hub::builder("sessions").redundancy(Redundancy::Replicated {
    ///     factor: Factor::Nodes(2),
    ///     model: Model::ActivePassive,
    ///     signal: Signal::None,
    ///     state: true,
    /// });
    /// ```
    #[must_use]
    pub fn redundancy(mut self, redundancy: Redundancy) -> Self {
        self.settings.redundancy = redundancy;
        self
    }

    /// When a part of a divided network stands still; never, unless set. The same on all nodes of
    /// the hub. With an engine that is exclusive the lease decides that, and no rule is needed.
    ///
    /// ```
    /// use handover_hub::Hub;
    /// use handover_hub::proto::partition::Rule;
    ///
    /// let _ = Hub::builder("sessions").partition(Rule::Majority {
    ///     initial: 3,
    ///     track_max: true,
    /// });
    /// ```
    #[must_use]
    pub fn partition(mut self, rule: Rule) -> Self {
        self.settings.partition = rule;
        self
    }

    /// How long a move may take, and what becomes of one that is deferred.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use handover_hub::Hub;
    /// use handover_hub::proto::migration::Settings;
    ///
    /// let _ = Hub::builder("sessions").migration(Settings {
    ///     defer_at_most: Duration::from_secs(60),
    ///     ..Settings::default()
    /// });
    /// ```
    #[must_use]
    pub fn migration(mut self, migration: migration::Settings) -> Self {
        self.settings.migration = migration;
        self
    }

    /// How many moves go at once, and how many begin each second.
    ///
    /// ```
    /// use handover_hub::Hub;
    /// use handover_hub::proto::node::Moves;
    ///
    /// let _ = Hub::builder("sessions").moves(Moves {
    ///     rate: Some(500),
    ///     ..Moves::default()
    /// });
    /// ```
    #[must_use]
    pub fn moves(mut self, moves: Moves) -> Self {
        self.settings.moves = moves;
        self
    }

    /// How often the node measures how busy it is; 2 s, unless set.
    #[must_use]
    pub fn measured(mut self, every: Duration) -> Self {
        self.settings.load = every;
        self
    }

    /// How the node decides, when the defaults do not fit. Replaces all that was set of it
    /// before, the number of shards too; what the engine promises is filled in.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Other nodes are reached inside of this program: for tests with several hubs.
    #[must_use]
    pub fn network(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// How many crashes of a process are forgiven.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// How much may wait for one process.
    #[must_use]
    pub fn mailboxes(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Bytes of the state of a process that moves, at most; 64 MiB, unless set. One that has more
    /// stays where it is.
    #[must_use]
    pub fn state_limit(mut self, bytes: u64) -> Self {
        self.state_limit = bytes;
        self
    }

    /// Writes the state of each process that changed to a store, this long after the change, and
    /// starts from there what was started before. What it answered in between is lost with its
    /// node.
    #[must_use]
    pub fn checkpoints(mut self, store: impl Store, every: Duration) -> Self {
        let store = Arc::new(store);
        self.checkpoints = Some(Checkpoints { store, every });
        self
    }

    /// Calls `call` at a hook, those with the higher priority first. An id is used once for each
    /// hook.
    #[must_use]
    pub fn hook(self, hook: Hook, id: &str, priority: i32, call: Call) -> Self {
        self.handler(hook, id, priority, Code::Call(call))
    }

    /// Alters every child whose start is asked on this node, at [`Hook::AlterSpec`]. Such a handler
    /// has the same ids and priorities as those that are only [called](Self::hook) there.
    #[must_use]
    pub fn alter(self, id: &str, priority: i32, alter: Alter) -> Self {
        self.handler(Hook::AlterSpec, id, priority, Code::Alter(alter))
    }

    /// How long the node waits for the handlers of the hooks that are called before something happens,
    /// together; 1 second, unless set. Then it goes on without them.
    #[must_use]
    pub fn hook_patience(mut self, patience: Duration) -> Self {
        self.handlers.set_patience(patience);
        self
    }

    fn handler(mut self, hook: Hook, id: &str, priority: i32, call: Code) -> Self {
        let id = id.to_owned();
        let handler = Handler { id, priority, call };
        if let Err(error) = self.handlers.add(hook, handler) {
            self.wrong.get_or_insert(StartError::Hook(error));
        }
        self
    }

    /// Who says which nodes are members and who owns what.
    #[must_use]
    pub fn engine(mut self, engine: impl Engine) -> Self {
        self.engine = Some(Box::new(engine));
        self
    }

    /// A kind of process that this node can run, under the name that children are started by.
    #[must_use]
    pub fn kind<P: Process>(mut self, name: &str) -> Self {
        match KindName::new(name) {
            Ok(name) => {
                if !self.kinds.add::<P>(name.clone()) {
                    self.wrong.get_or_insert(StartError::KindTwice(name));
                }
            }
            Err(error) => {
                self.wrong.get_or_insert(StartError::Name(error));
            }
        }
        self
    }

    /// Children that are started with this node, unless they run already. If one of them does not
    /// start, the node leaves again.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = ChildSpec>) -> Self {
        self.children.extend(children);
        self
    }

    /// Takes orders from operators on this socket, which only its user and root can use; see
    /// [`admin`](crate::admin). The command `handover hub` finds it by itself at
    /// [`socket_path`](crate::admin::socket_path).
    #[must_use]
    pub fn admin(mut self, socket: impl Into<PathBuf>) -> Self {
        self.served.admin = Some(socket.into());
        self
    }

    /// Serves a page that shows the hub live; see [`dashboard`](crate::dashboard).
    #[must_use]
    pub fn dashboard(mut self, dashboard: Dashboard) -> Self {
        self.served.dashboard = Some(dashboard);
        self
    }

    pub(crate) fn schemas(&self) -> Vec<(KindName, Schemas)> {
        let kinds = self.kinds.iter();
        kinds
            .map(|(name, kind)| (name.clone(), kind.schemas()))
            .collect()
    }

    /// Joins the hub.
    ///
    /// Dropped before it is ready, the node is gone as if it had been killed.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing of it is left running.
    pub async fn start(self) -> Result<Hub, StartError> {
        start::start(self).await
    }

    /// Goes on as the same node where its program before, on this host, stopped: with all that
    /// [`HandedHub::write`](crate::local::HandedHub::write) wrote. Nobody notices before the
    /// [successor serves](crate::local::Successor::serve); dropped before that, the program before
    /// can go on as if nothing had been.
    ///
    /// # Errors
    ///
    /// [`ResumeError`](crate::local::ResumeError); nothing of it is left running.
    pub async fn resume(
        self,
        handed: impl std::io::Read + Send,
    ) -> Result<crate::local::Successor, crate::local::ResumeError> {
        resume::resume(self, handed).await
    }
}
