//! The machine of one node.
//!
//! What it decides on: which shards to own, which children run where, in which order and at what
//! pace they move, what happens when a member is gone. What it does not see: messages to processes
//! and their states, which go from host to host.

mod cluster;
mod command;
mod declared;
mod division;
mod emptying;
mod ending;
mod flights;
mod handed;
mod host;
mod hosting;
mod loads;
mod machine;
mod moving;
pub(crate) mod outbox;
mod replicas;
mod settings;
mod status;
mod stillness;
mod timers;

pub use self::command::{
    Answer, Command, Evacuation, Failure, OnFailure, StartOptions, Started, Staying, Stopped,
};
pub use self::flights::{FLIGHTS, Flight, Ordered, Pause};
pub use self::handed::Handed;
pub use self::host::{HostFailure, HostOrder, HostReport, Origin};
pub use self::machine::Node;
pub use self::settings::{Agreement, Moves, Settings};
pub use self::status::{Counters, NodeStatus, ShardStatus};

pub(crate) use self::timers::Timer;

use crate::event::Event;
use crate::identity::{NodeId, RequestId};
use crate::view::{EngineEvent, EngineOrder, Load};

/// What can happen to a node. `M` is what nodes tell each other.
#[derive(Clone, Debug)]
pub enum Input<M> {
    /// The engine says something.
    Engine(EngineEvent),
    /// Another node says something.
    Heard {
        /// Who.
        from: NodeId,
        /// What.
        message: M,
    },
    /// The connection to another node broke. No proof of its death.
    Disconnected(NodeId),
    /// Somebody on this node wants something.
    Command {
        /// Answered under this number, exactly once.
        request: RequestId,
        /// What.
        command: Command,
    },
    /// A process on this node did what it was ordered to, or something happened to it.
    Host(HostReport),
    /// How busy this node is, as was measured just now.
    Load(Load),
    /// Time has passed.
    Tick,
}

/// What a node wants done, strictly in order. `M` is what nodes tell each other.
#[derive(Clone, Debug)]
pub enum Effect<M> {
    /// Say something to another node. May be lost with the connection.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: M,
    },
    /// Ask the engine.
    Engine(EngineOrder),
    /// Do something to a process on this node; reported by [`Input::Host`].
    Host(HostOrder),
    /// Answer a command.
    Answer {
        /// Which.
        request: RequestId,
        /// What.
        answer: Answer,
    },
    /// Tell hooks, screens, logs and metrics.
    Report(Event),
}

#[cfg(test)]
mod tests;
