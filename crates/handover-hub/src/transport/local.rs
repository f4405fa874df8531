//! Nodes of one program, connected without sockets: for tests with several hubs and for trying.
//!
//! A [`Network`] can be cut between any two nodes, one way or both, delayed, and healed.

mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use handover_hub_proto::identity::NodeId;
use tokio::sync::{mpsc, watch};

use self::wire::Wire;
use super::{
    Class, Frame, Incoming, Introduction, Limits, PeerEvent, Posted, Rejection, SendError,
    Transport,
};

/// Events that wait to be taken by a node; who connects waits for room.
const EVENTS: usize = 1024;

/// Messages between engines that wait to be taken; more are dropped, engines repeat themselves.
const POSTED: usize = 1024;

/// A network inside a program. Clones are the same network.
#[derive(Clone, Debug)]
pub struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    map: Mutex<Map>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Map {
    stations: HashMap<String, Arc<Station>>,
    cuts: HashSet<(NodeId, NodeId)>,
    mutes: HashSet<(NodeId, NodeId)>,
    delays: HashMap<(NodeId, NodeId), Duration>,
}

/// Where the frames for one node go.
#[derive(Debug)]
struct Station {
    me: Introduction,
    limits: Limits,
    frames: [mpsc::Sender<(NodeId, Frame)>; 3],
    events: mpsc::Sender<PeerEvent>,
    engine: mpsc::Sender<Posted>,
}

/// What is found at an address.
#[derive(Debug)]
enum Answer {
    Station(Arc<Station>),
    Refused,
    Silence,
    Rejected(Rejection),
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Network {
    /// A network without nodes and cuts.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            map: Mutex::default(),
            changed: watch::channel(0).0,
        }))
    }

    /// Adds a node at the address of its introduction; whoever was there is gone.
    ///
    /// Needs a running tokio runtime.
    #[must_use]
    pub fn join(&self, me: Introduction, limits: Limits) -> (Arc<dyn Transport>, Incoming) {
        let (control, control_arrived) = mpsc::channel(limits.arrived);
        let (calls, calls_arrived) = mpsc::channel(limits.arrived);
        let (states, states_arrived) = mpsc::channel(limits.arrived);
        let (events, events_arrived) = mpsc::channel(EVENTS);
        let (engine, engine_arrived) = mpsc::channel(POSTED);
        let incoming = Incoming {
            control: control_arrived,
            calls: calls_arrived,
            states: states_arrived,
            events: events_arrived,
            engine: engine_arrived,
        };
        let station = Arc::new(Station {
            me,
            limits,
            frames: [control, calls, states],
            events,
            engine,
        });
        self.change(|map| {
            map.stations
                .insert(station.me.address.clone(), Arc::clone(&station));
        });
        let port = Port {
            network: self.clone(),
            wires: Mutex::new(HashMap::new()),
            station,
        };
        port.learn(port.station.me.node, &port.station.me.address);
        (Arc::new(port), incoming)
    }

    /// Breaks the connections between two nodes, both ways, until healed.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        self.change(|map| {
            map.cuts.insert((one, other));
            map.cuts.insert((other, one));
        });
    }

    /// Separates nodes into parts that do not reach each other.
    pub fn divide(&self, parts: &[&[NodeId]]) {
        self.change(|map| {
            for (index, part) in parts.iter().enumerate() {
                for other in parts.iter().skip(index + 1) {
                    for (&a, &b) in part.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                        map.cuts.insert((a, b));
                        map.cuts.insert((b, a));
                    }
                }
            }
        });
    }

    /// Loses all that one node sends to another from now on, without either being told.
    pub fn mute(&self, from: NodeId, to: NodeId) {
        self.change(|map| {
            map.mutes.insert((from, to));
        });
    }

    /// Holds up all that one node sends to another.
    pub fn delay(&self, from: NodeId, to: NodeId, by: Duration) {
        self.change(|map| {
            map.delays.insert((from, to), by);
        });
    }

    /// Takes back all cuts, mutes and delays.
    pub fn heal(&self) {
        self.change(|map| {
            map.cuts.clear();
            map.mutes.clear();
            map.delays.clear();
        });
    }

    /// Ends a node as a kill would: nothing it had queued arrives, its address refuses.
    pub fn kill(&self, node: NodeId) {
        self.change(|map| {
            map.stations.retain(|_, station| station.me.node != node);
        });
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Map)) {
        change(&mut self.map());
        self.0.changed.send_modify(|version| *version += 1);
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Who answers a node at an address.
    fn dial(&self, from: &Station, address: &str) -> Answer {
        let map = self.map();
        let alive = map
            .stations
            .get(&from.me.address)
            .is_some_and(|station| station.me.node == from.me.node);
        let Some(station) = map.stations.get(address) else {
            return Answer::Refused;
        };
        if !alive || map.cuts.contains(&(from.me.node, station.me.node)) {
            return Answer::Silence;
        }
        match station.me.rejects(&from.me) {
            Some(rejection) => Answer::Rejected(rejection),
            None => Answer::Station(Arc::clone(station)),
        }
    }

    fn muted(&self, from: NodeId, to: NodeId) -> bool {
        self.map().mutes.contains(&(from, to))
    }

    fn delayed(&self, from: NodeId, to: NodeId) -> Duration {
        self.map()
            .delays
            .get(&(from, to))
            .copied()
            .unwrap_or_default()
    }
}

impl Station {
    async fn tell(&self, event: PeerEvent) {
        let _ = self.engine.try_send(Posted::Peer(event.clone()));
        // Closed when the node is not interested any more.
        let _ = self.events.send(event).await;
    }

    async fn deliver(&self, from: &Introduction, frame: Frame) {
        match frame {
            Frame::Engine(bytes) => {
                let _ = self.engine.try_send(Posted::Bytes {
                    from: from.node,
                    address: from.address.clone(),
                    bytes,
                });
            }
            frame => {
                if let Some(class) = self.frames.get(frame.class().index()) {
                    let _ = class.send((from.node, frame)).await;
                }
            }
        }
    }
}

/// The transport of one node.
#[derive(Debug)]
struct Port {
    network: Network,
    station: Arc<Station>,
    wires: Mutex<HashMap<NodeId, Wire>>,
}

impl Port {
    fn wires(&self) -> MutexGuard<'_, HashMap<NodeId, Wire>> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Port {
    fn me(&self) -> &Introduction {
        &self.station.me
    }

    fn send(&self, to: NodeId, frame: Frame) -> Result<(), SendError> {
        let limit = self.station.limits.frame;
        let found = frame.weight();
        if found > limit {
            return Err(SendError::TooLarge { limit, found });
        }
        match self.wires().get(&to) {
            Some(wire) => wire.send(to, frame),
            None => Err(SendError::Unreachable(to)),
        }
    }

    fn room(&self, to: NodeId, class: Class) -> BoxFuture<'static, ()> {
        let queue = self.wires().get(&to).map(|wire| wire.queue(class));
        Box::pin(async move {
            if let Some(queue) = queue {
                queue.room().await;
            }
        })
    }

    fn learn(&self, node: NodeId, address: &str) {
        let mut wires = self.wires();
        if wires
            .get(&node)
            .is_none_or(|wire| wire.address() != address)
        {
            let wire = Wire::new(&self.network, &self.station, node, address);
            wires.insert(node, wire);
        }
    }

    fn forget(&self, node: NodeId) {
        if node != self.station.me.node {
            self.wires().remove(&node);
        }
    }

    fn post(&self, address: &str, bytes: Bytes) {
        let station = match self.network.dial(&self.station, address) {
            Answer::Station(station) => station,
            Answer::Rejected(rejection) => {
                let rejected = PeerEvent::Rejected {
                    address: address.to_owned(),
                    by_us: false,
                    rejection,
                };
                let _ = self.station.engine.try_send(Posted::Peer(rejected));
                return;
            }
            Answer::Refused | Answer::Silence => return,
        };
        let (from, to) = (self.station.me.node, station.me.node);
        if self.network.muted(from, to) {
            return;
        }
        let delay = self.network.delayed(from, to);
        let me = self.station.me.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            station.deliver(&me, Frame::Engine(bytes)).await;
        });
    }

    fn close(&self, within: Duration) -> BoxFuture<'static, ()> {
        let queues: Vec<_> = self
            .wires()
            .values()
            .filter(|wire| wire.is_up())
            .flat_map(|wire| Class::ALL.map(|class| wire.queue(class)))
            .collect();
        let network = self.network.clone();
        let node = self.station.me.node;
        Box::pin(async move {
            let flushed = async {
                for queue in queues {
                    queue.flushed().await;
                }
            };
            let _ = tokio::time::timeout(within, flushed).await;
            network.kill(node);
        })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let me = &self.station.me;
        self.network.change(|map| {
            if map
                .stations
                .get(&me.address)
                .is_some_and(|station| station.me.node == me.node)
            {
                map.stations.remove(&me.address);
            }
        });
    }
}

#[cfg(test)]
mod tests;
