//! Where the nodes of a test meet, and what they write.

use std::net::SocketAddr;
use std::process::Command;

use handover_tests::address::own_address;
use handover_tests::hub::{Node, Place, Record};

/// A cluster of up to four nodes, called `a` to `d`.
pub(crate) struct World {
    pub(crate) record: Record,
    addresses: [SocketAddr; 4],
    pub(crate) engine: String,
    pub(crate) lease: Option<u32>,
}

impl World {
    pub(crate) fn gossip() -> Self {
        let addresses = [(); 4].map(|()| own_address());
        let seeds = addresses.map(|address| address.to_string());
        Self {
            record: Record::new(),
            addresses,
            engine: format!("gossip:{}", seeds.join(",")),
            lease: None,
        }
    }

    /// The place of the node with this name.
    pub(crate) fn place<'a>(&'a self, name: &'a str) -> Place<'a> {
        let number = name.bytes().next().map_or(0, |byte| byte - b'a');
        Place {
            name,
            address: self.addresses[usize::from(number)].to_string(),
            record: self.record.path(),
            engine: self.engine.clone(),
            lease: self.lease,
        }
    }

    /// A `hub-node` in its place, with this in its environment.
    pub(crate) fn node(&self, name: &str, environment: &[(&str, &str)]) -> Node {
        let mut program = crate::program();
        program.envs(environment.iter().copied());
        self.start(program, name)
    }

    /// A node by this command in its place.
    pub(crate) fn start(&self, program: Command, name: &str) -> Node {
        Node::start(program, &self.place(name))
    }
}
