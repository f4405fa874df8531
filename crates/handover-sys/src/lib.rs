//! The kernel as handover uses it: descriptors that cross process boundaries, programs started
//! without `fork`, processes watched without pid races.
//!
//! Only Linux is supported; on any other system this crate compiles to nothing. Nothing here
//! knows about the handover protocol, about tokio or about policy: a function does one kernel
//! job, owns every descriptor it touches, and says on failure what has changed.
//!
//! This is the only crate of the workspace that contains `unsafe` code. Each block carries its
//! proof.
#![cfg(target_os = "linux")]
#![deny(unsafe_op_in_unsafe_fn)]

mod ancillary;
mod claim;
pub mod control;
pub mod descriptors;
pub mod diag;
pub mod executable;
pub mod filesystem;
pub mod inherited;
pub mod interface;
pub mod lock;
pub mod memfd;
pub mod multicast;
mod netlink;
pub mod notify;
pub mod passing;
pub mod peer;
pub mod pidfd;
mod placement;
pub mod process;
pub mod reap;
mod signal;
pub mod socket;
pub mod spawn;
mod wait;

pub use pidfd::{Exit, Pidfd};
pub use process::{Usage, usage};
pub use signal::Signal;
