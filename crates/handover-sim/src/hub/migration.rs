//! Every interleaving of a move of one process between the nodes of a hub: the real machines of
//! [`handover_hub_proto::migration`], mailboxes, reply caches and callers, on connections that keep
//! their order until they break.
//!
//! A [`World`] is a value: nodes, each with a terminal and perhaps the process; a home with a
//! movement, or with a census if it is a new one; a caller that sends calls and casts; what is under
//! way. A connection may break at any point: what was under way on it is lost, or arrives at any
//! later moment. Nodes may die at any point, the home too. [`explore`] visits all of it.
//!
//! Beside each never there is a must, and for each rule a [`Fault`]: broken on purpose, and noticed
//! by the same exploration.

mod caller;
mod fault;
mod home;
mod host;
mod judge;
mod network;
mod search;
mod serving;
mod world;

pub use self::fault::Fault;
pub use self::search::{Report, explore};
pub use self::world::{Action, Budget, Layout, World};
