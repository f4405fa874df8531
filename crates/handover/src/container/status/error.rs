//! Why a status is not told or heard.

use crate::container::{EnvironmentError, GroupError, Network};
use std::io;

/// Why a status is not told or heard.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// A variable cannot be read.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The service's name has no room in the datagram.
    #[error(
        "the service name {name:?} cannot be told: expected at most 62 bytes and no zero byte, \
         found {} bytes; give the service a shorter one", name.len()
    )]
    Name {
        /// The name.
        name: String,
    },
    /// No runtime runs, or it was shut down.
    #[error("a status needs a tokio runtime; make it inside `#[tokio::main]` or `block_on`")]
    NoRuntime,
    /// The interface of this device's network is missing, or has no IPv4 address.
    #[error(
        "interface {name} is missing or has no IPv4 address: the status is told to nobody until it \
         has; correct NETWORK_INTERFACE, or set HANDOVER_NETWORK_MODE=bridge in a network of its own"
    )]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// The container is connected to nothing.
    #[error(
        "no interface but loopback is up with an IPv4 address and multicast: the status is told to \
         nobody until one is; connect the container to a network"
    )]
    NoNetwork,
    /// The kernel does not say which interfaces there are.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(#[source] io::Error),
    /// An interface did not take the datagram. Others may have.
    #[error("interface {interface} does not send the status: {source}; nobody there hears it")]
    Send {
        /// Its name.
        interface: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// There is no socket to listen with.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The socket cannot be read any more.
    #[error("status messages cannot be heard any more: {0}")]
    Receive(#[source] io::Error),
}

impl StatusError {
    /// Why there is no interface to use.
    pub(super) fn nowhere(network: &Network) -> Self {
        match network {
            Network::Bridge => Self::NoNetwork,
            Network::Host { interface } => Self::NoInterface {
                name: interface.clone(),
            },
        }
    }
}
