//! Every interleaving of the real machines of [`handover_proto`]: test only.
//!
//! A [`world::World`] is a value: a coordinator and its journal, instances and their channels, the
//! lease, time. [`actions`] says what can happen next in it, [`step`] lets it happen,
//! [`invariants`] judges each state, [`explorer`] visits all of them breadth first. [`arms`] takes
//! the machines' transitions away one at a time and asks whether anybody notices; [`tables`]
//! prints them. [`container`] is a world of its own, for the machines that share no coordinator.
#![forbid(unsafe_code)]

pub mod actions;
pub mod arms;
pub mod broken;
pub mod cluster;
pub mod container;
pub mod explorer;
mod fingerprint;
pub mod hub;
pub mod invariants;
pub mod kept;
mod parallel;
pub mod process;
pub mod scenario;
pub mod seen;
pub mod step;
pub mod tables;
pub mod trace;
pub mod world;
