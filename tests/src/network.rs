//! Networks of containers and devices, made of the kernel's own parts: network namespaces, veth
//! pairs and bridges.
//!
//! | type | what it stands for |
//! |---|---|
//! | [`Bridge`] | the bridge network of one device; each container has a namespace of its own |
//! | [`Lan`] | several devices on one LAN, whose containers live in the host's network |
//! | [`Relay`] | containers between which datagrams are lost, doubled, late and out of order |
//! | [`Container`] | a file system, process tree and kernel identity on one of these networks |
//! | [`Entrypoint`] | the program running in one, and what it says |
//! | [`Teller`] | the status of an instance, told with our library |
//! | [`Theirs`], [`Ours`] | a service on handover-lib, and one on our library |
//! | [`Wire`] | whoever else is on the network: listens, forges, floods |
//!
//! Nothing has a name in the file system and nothing touches the network of the host: a
//! [`Namespace`] is held by a process that ends when the test does, even when that is killed, and
//! the kernel takes down what was in it.
//!
//! Multicast goes where the route to it leads unless the sender says otherwise, so every namespace
//! has a default route, as a container or device has.

mod bridge;
mod container;
mod entrypoint;
mod lan;
mod namespace;
pub mod ours;
mod relay;
mod teller;
mod theirs;
pub mod wire;

pub use bridge::Bridge;
pub use container::Container;
pub use entrypoint::Entrypoint;
pub use lan::{Device, Lan};
pub use namespace::Namespace;
pub use ours::Ours;
pub use relay::{Fate, Relay};
pub use teller::Teller;
pub use theirs::Theirs;
pub use wire::{GROUP, PEER, STATUS, VERSION_3, Wire, legacy};

use crate::peer;

/// Whether networks can be made here; the reason is printed when not, and the test is to return.
///
/// # Panics
/// When they cannot, although `CI` is set.
#[must_use]
pub fn possible() -> bool {
    let programs = ["ip", "unshare", "nsenter", "setpriv"];
    peer::root() && programs.iter().all(|name| peer::installed(name).is_some())
}
