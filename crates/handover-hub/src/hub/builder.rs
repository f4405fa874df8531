//! How a node is described and started.

use std::net::{IpAddr, SocketAddr};

use handover_hub_proto::identity::{HubName, KindName, NodeName};

use super::Hub;
use crate::child::ChildSpec;
use crate::engine::Engine;
use crate::error::StartError;
use crate::kind::Kinds;
use crate::process::Process;

/// A node of a hub that does not run yet. Whatever is wrong with it is said by
/// [`start`](Self::start).
pub struct Builder {
    name: String,
    node: Option<String>,
    listen: Option<String>,
    insecure: bool,
    weight: u32,
    version: String,
    shards: u16,
    engine: Option<Box<dyn Engine>>,
    kinds: Kinds,
    children: Vec<ChildSpec>,
    /// The first thing that was wrong.
    wrong: Option<StartError>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            node: None,
            listen: None,
            insecure: false,
            weight: 100,
            version: String::new(),
            shards: handover_hub_proto::placement::SHARDS,
            engine: None,
            kinds: Kinds::default(),
            children: Vec::new(),
            wrong: None,
        }
    }

    /// This node's name, unique in its hub. The host's name, unless set.
    #[must_use]
    pub fn node(mut self, name: &str) -> Self {
        self.node = Some(name.to_owned());
        self
    }

    /// Where peers reach this node: `host:port`.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        self.listen = Some(address.to_owned());
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
        self.shards = shards;
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

    /// Joins the hub.
    ///
    /// Dropped before it is ready, the node is gone as if it had been killed.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing of it is left running.
    pub async fn start(self) -> Result<Hub, StartError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let _ = HubName::new(&self.name)?;
        let _ = NodeName::new(self.node.as_deref().unwrap_or("node"))?;
        Err(StartError::NoEngine)
    }
}

/// Whether an address can be reached from this host only.
fn is_loopback(address: &str) -> bool {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
