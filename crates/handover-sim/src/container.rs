//! Every interleaving of the machines of containers that hand over
//! ([`handover_proto::container::peer`]), on a network that loses, duplicates, reorders and delays.
//!
//! Each machine has a clock of its own, which only moves when the machine is told so: whatever one
//! does may take another any time. A datagram in flight may arrive at any later moment or never.
//! One instance may die, or its program fail, at any point. A [`World`] counts what is spent, so
//! that there is an end; [`explore`] visits all of it, [`wander`] goes far beyond at random, with three
//! instances too, of which all would be too many.
//!
//! Beside each never there is a must, and for each there is a [`Fault`]: a rule that is broken on
//! purpose, and that the same exploration has to notice.

mod fault;
mod judge;
mod search;
mod walk;
mod world;

pub use self::fault::Fault;
pub use self::search::{Report, explore};
pub use self::walk::wander;
pub use self::world::{Action, Budget, World};
