//! Stateful processes that live on many nodes and move with their state.
#![forbid(unsafe_code)]

pub mod admin;
mod caller;
mod calls;
mod cell;
mod cells;
pub mod checkpoint;
pub mod child;
mod crash;
pub mod dashboard;
mod driver;
pub mod engine;
pub mod error;
mod events;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handlers;
mod hub;
mod inbound;
mod kind;
mod load;
pub mod local;
pub mod process;
mod registry;
mod serving;
mod states;
mod timers;
pub mod transport;

pub use handover_hub_proto as proto;

pub use self::child::ChildSpec;
pub use self::events::Events;
pub use self::handlers::{Alter, Call, Occasion};
pub use self::hub::{
    Builder, Evacuated, Hub, Moved, PATIENCE, Scope, StartResult, Status, StopResult,
};
pub use self::registry::Registry;
