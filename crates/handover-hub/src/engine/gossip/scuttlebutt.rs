//! chitchat over the hub's transport.
//!
//! chitchat names nodes by socket addresses; the hub by `host:port`, which may be a name. So it is
//! given made-up addresses, one for each node and each seed, and a directory of what they stand for.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chitchat::transport::{Socket, Transport};
use chitchat::{
    ChitchatConfig, ChitchatHandle, ChitchatId, ChitchatMessage, Deserializable,
    FailureDetectorConfig, NodeState, Serializable, spawn_chitchat,
};
use handover_hub_proto::identity::{HubName, NodeId};
use tokio::sync::{mpsc, watch};

use super::mail::{Published, wrap};
use super::{Gossip, Pace};
use crate::engine::Letter;

/// Messages that wait for chitchat; it repeats what is lost.
const WAITING: usize = 256;

/// Under this key a node publishes itself.
const MEMBER: &str = "member";

/// Under this key a node publishes that it has left.
const LEFT: &str = "left";

/// How many times between two heartbeats are kept, of which the detector takes the mean: those of
/// some minute, so that it follows the load of the network.
const SAMPLES: usize = 100;

/// What made-up addresses stand for.
#[derive(Debug, Default)]
pub(super) struct Directory(Mutex<HashMap<SocketAddr, String>>);

impl Directory {
    fn entries(&self) -> MutexGuard<'_, HashMap<SocketAddr, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node is reached there.
    pub(super) fn put(&self, node: NodeId, address: &str) {
        self.entries().insert(of_node(node), address.to_owned());
    }

    /// Nothing is sent to a node any more.
    pub(super) fn remove(&self, node: NodeId) {
        self.entries().remove(&of_node(node));
    }

    fn get(&self, address: SocketAddr) -> Option<String> {
        self.entries().get(&address).cloned()
    }
}

/// Ports of made-up addresses, to tell nodes from seeds.
const NODE: u16 = 1;
const SEED: u16 = 2;

fn made_up(number: u64, port: u16) -> SocketAddr {
    // A unique local prefix; never dialled.
    let address = (0xfd48_4f56_0000_0000_u128 << 64) | u128::from(number);
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address)), port)
}

fn of_node(node: NodeId) -> SocketAddr {
    made_up(node.0, NODE)
}

fn of_seed(seed: &str) -> SocketAddr {
    made_up(xxhash_rust::xxh3::xxh3_64(seed.as_bytes()), SEED)
}

/// What another node published, as far as gossip has brought it here.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Grows with each change.
    pub(super) version: u64,
    pub(super) published: Option<Published>,
    pub(super) left: bool,
    /// Its claims, by segment.
    pub(super) claims: Vec<String>,
}

/// chitchat, running.
pub(super) struct Scuttlebutt {
    handle: ChitchatHandle,
    pub(super) live: watch::Receiver<BTreeMap<ChitchatId, NodeState>>,
    arrivals: mpsc::Sender<(SocketAddr, ChitchatMessage)>,
}

impl Scuttlebutt {
    /// Starts it. Each start of one node needs a higher generation.
    pub(super) async fn start(
        gossip: &Gossip,
        hub: &HubName,
        me: &Published,
        generation: u64,
        directory: &Arc<Directory>,
        outbox: &mpsc::Sender<Letter>,
    ) -> Result<Self, String> {
        let address = of_node(me.member.id);
        let seeds: Vec<_> = gossip
            .seeds
            .iter()
            .filter(|seed| **seed != me.member.address)
            .collect();
        for seed in &seeds {
            directory.entries().insert(of_seed(seed), (*seed).clone());
        }
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(me.member.id.to_string(), generation, address),
            cluster_id: hub.to_string(),
            gossip_interval: gossip.pace.interval,
            listen_addr: address,
            seed_nodes: seeds.iter().map(|seed| of_seed(seed).to_string()).collect(),
            failure_detector_config: detector(&gossip.pace),
            marked_for_deletion_grace_period: gossip.pace.memory,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        let (arrivals, arrived) = mpsc::channel(WAITING);
        let wire = Wire {
            directory: Arc::clone(directory),
            outbox: outbox.clone(),
            arrived: Mutex::new(Some(arrived)),
        };
        let said = vec![(MEMBER.to_owned(), text(me))];
        let handle = spawn_chitchat(config, said, &wire)
            .await
            .map_err(|error| error.to_string())?;
        let live = handle
            .with_chitchat(|chitchat| chitchat.live_nodes_watcher())
            .await;
        Ok(Self {
            handle,
            live,
            arrivals,
        })
    }

    /// Hands chitchat a message. What finds no room is dropped.
    pub(super) fn take(&self, from: NodeId, message: &Bytes) {
        match ChitchatMessage::deserialize(&mut &message[..]) {
            Ok(message) => drop(self.arrivals.try_send((of_node(from), message))),
            Err(error) => tracing::debug!(%from, %error, "not a message of chitchat"),
        }
    }

    /// Publishes what changed about this node.
    pub(super) async fn publish(&self, me: &Published) {
        self.set(MEMBER, &text(me)).await;
    }

    /// Publishes what it owns of a segment.
    pub(super) async fn publish_claims(&self, segment: u16, claims: &str) {
        self.set(&claims_key(segment), claims).await;
    }

    /// Publishes that it leaves.
    pub(super) async fn publish_left(&self) {
        self.set(LEFT, "1").await;
    }

    async fn set(&self, key: &str, value: &str) {
        self.handle
            .with_chitchat(|chitchat| {
                let state = chitchat.self_node_state();
                if state.get(key) != Some(value) {
                    state.set(key, value);
                }
            })
            .await;
    }

    /// Waits until it ended, which only a fault of its own makes it do.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let ended = self.handle.termination_watcher();
        async {
            let _ = ended.await;
        }
    }

    pub(super) fn stop(&self) {
        self.handle.abort();
    }

    /// All that are held for alive; of those that changed since `seen`, what they published.
    pub(super) fn heard(
        &mut self,
        seen: &BTreeMap<NodeId, u64>,
        segments: u16,
    ) -> BTreeMap<NodeId, Option<Heard>> {
        let live = self.live.borrow_and_update();
        let mut heard = BTreeMap::new();
        for (id, state) in live.iter() {
            let Ok(node) = u64::from_str_radix(&id.node_id, 16).map(NodeId) else {
                continue;
            };
            let version = state.max_version();
            let news = (seen.get(&node) != Some(&version)).then(|| Heard {
                version,
                published: state.get(MEMBER).and_then(|text| {
                    let published: Option<Published> = serde_json::from_str(text).ok();
                    // Nobody speaks for others.
                    published.filter(|published| published.member.id == node)
                }),
                left: state.get(LEFT).is_some(),
                claims: (0..segments)
                    .filter_map(|segment| state.get(&claims_key(segment)).map(str::to_owned))
                    .collect(),
            });
            heard.insert(node, news);
        }
        heard
    }
}

impl Drop for Scuttlebutt {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

fn claims_key(segment: u16) -> String {
    format!("claims-{segment}")
}

fn text(me: &Published) -> String {
    // A struct of texts and numbers can always be written.
    serde_json::to_string(me).unwrap_or_default()
}

fn detector(pace: &Pace) -> FailureDetectorConfig {
    FailureDetectorConfig {
        phi_threshold: pace.suspicion,
        sampling_window_size: SAMPLES,
        // Longer ones come from a node that stood still, and would make it hard to find dead.
        max_interval: pace.interval * 10,
        initial_interval: pace.interval,
        dead_node_grace_period: pace.memory,
    }
}

/// Gives chitchat its one socket.
struct Wire {
    directory: Arc<Directory>,
    outbox: mpsc::Sender<Letter>,
    arrived: Mutex<Option<mpsc::Receiver<(SocketAddr, ChitchatMessage)>>>,
}

/// As chitchat's traits, written with `async_trait`, want it.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = anyhow::Result<T>> + Send + 'a>>;

impl Transport for Wire {
    fn open<'life0, 'async_trait>(
        &'life0 self,
        _listen: SocketAddr,
    ) -> Boxed<'async_trait, Box<dyn Socket>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let arrived = self
            .arrived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let socket = arrived.map(|arrived| Slot {
            directory: Arc::clone(&self.directory),
            outbox: self.outbox.clone(),
            arrived,
        });
        Box::pin(async move {
            match socket {
                Some(socket) => Ok(Box::new(socket) as Box<dyn Socket>),
                None => Err(anyhow::anyhow!("opened twice")),
            }
        })
    }
}

struct Slot {
    directory: Arc<Directory>,
    outbox: mpsc::Sender<Letter>,
    arrived: mpsc::Receiver<(SocketAddr, ChitchatMessage)>,
}

impl Socket for Slot {
    fn send<'life0, 'async_trait>(
        &'life0 mut self,
        to: SocketAddr,
        message: ChitchatMessage,
    ) -> Boxed<'async_trait, ()>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        // Who is not in the directory is gone for good, or not known yet.
        if let Some(address) = self.directory.get(to) {
            let bytes = wrap(|bytes| message.serialize(bytes));
            let _ = self.outbox.try_send(Letter { address, bytes });
        }
        Box::pin(async { Ok(()) })
    }

    fn recv<'life0, 'async_trait>(
        &'life0 mut self,
    ) -> Boxed<'async_trait, (SocketAddr, ChitchatMessage)>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            self.arrived
                .recv()
                .await
                .ok_or_else(|| anyhow::anyhow!("the hub's transport is closed"))
        })
    }
}
