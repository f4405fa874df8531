//! The handover protocol as a value: inputs in, effects out, time passed in.
//!
//! Nothing here blocks, fails, reads a clock or touches a descriptor; `no_std` makes the compiler
//! forbid it. Drivers (the `handover` crate) execute effects strictly in order, the explorer
//! (`handover-sim`) executes every interleaving of them.
//!
//! | where | what |
//! |---|---|
//! | [`coordinator`] | the supervisor's machine: whoever decides |
//! | [`instance`] | the machines inside a service: [`instance::Successor`], [`instance::Incumbent`] |
//! | [`message`], [`frame`] | what coordinator and instance say, and its bytes |
//! | [`state`] | what crosses between two instances: items, their negotiation, their bytes |
//! | [`takeover`] | what is said on a takeover socket before it is a native channel |
//! | [`journal`] | what is recorded before each act, and total recovery from it |
//! | [`manifest`] | listeners by name |
//! | [`container`] | how containers that share no socket hand over: legacy and own datagrams, their machine |
//! | [`zero`] | the exchange of one listener with the Go program zero-downtime |
//! | [`event`], [`status`], [`outcome`] | what people and programs are told |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod beyond;
pub mod container;
pub mod coordinator;
pub mod event;
pub mod frame;
pub mod identity;
pub mod instance;
pub mod journal;
pub mod manifest;
pub mod message;
pub mod moment;
pub mod outcome;
pub mod phase;
pub mod settings;
pub mod state;
pub mod status;
pub mod takeover;
pub mod zero;
