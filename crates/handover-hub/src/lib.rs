//! Stateful processes that live on many nodes and move with their state.
#![forbid(unsafe_code)]
#![allow(dead_code)]

pub mod admin;
mod cell;
mod cells;
pub mod child;
pub mod dashboard;
pub mod engine;
pub mod error;
mod events;
mod hub;
mod kind;
pub mod process;
mod registry;

pub use handover_hub_proto as proto;

pub use self::child::ChildSpec;
pub use self::events::Events;
pub use self::hub::{
    Builder, Evacuated, Hub, Moved, PATIENCE, Scope, StartResult, Status, StopResult,
};
pub use self::registry::Registry;
pub mod transport;
