//! Hand a running service over from its old instance to its new one with nothing dropped.
//!
//! A program asks for its listeners by name, says when it is ready and learns when to go; whether
//! it was started by hand, by systemd or by `handover run`, and whether an older instance is still
//! serving, makes no difference to it:
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # async fn f(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! let instance = handover::Instance::start("web").await?;
//! let listener = instance.tcp("http", "0.0.0.0:8080").await?; // inherited, or bound
//! instance.ready().await?;
//! axum::serve(listener, app.layer(instance.reconnect_layer()))
//!     .with_graceful_shutdown(instance.draining())
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How an instance goes
//! The drain is a ladder, each step for as long as the [`Ladder`] says, and over early as soon as
//! no connection is open:
//!
//! | stage | what happens | what a program can wait for |
//! |---|---|---|
//! | announce | still accepts; load balancers look away | [`Instance::announced`] |
//! | notify | accepts no more; HTTP/1 clients are asked to reconnect | |
//! | grace | requests in flight finish, idle connections are closed | [`Instance::draining`] |
//! | force | what is left is cut | [`Guard::cut`] |
//! | over | a report of what finished, was cut, is still open | [`Instance::retired`] |
//!
//! # Limits
//! - Linux only. [`Instance`] needs a tokio runtime with I/O and time; [`blocking::Instance`] needs
//!   none.
//! - An established connection does not move to the next instance; it ends where it began.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod address;
#[cfg(feature = "axum")]
mod axum;
mod beyond;
pub mod blocking;
mod conduct;
mod connection;
mod conversation;
mod core;
mod crash;
mod datagram;
pub mod drain;
mod driver;
mod error;
mod exclusive;
mod guard;
mod inheritance;
mod instance;
pub mod lease;
mod ledger;
mod link;
mod listener;
mod notice;
#[cfg(feature = "axum")]
pub mod owner;
mod pool;
#[cfg(feature = "axum")]
pub mod reconnect;
mod service;
mod signals;
mod stage;
mod state;
#[cfg(feature = "supervisor")]
pub mod supervisor;

pub use address::Address;
pub use connection::{Connection, Cut};
pub use datagram::UdpSocket;
pub use error::{ListenError, ReadyError, StartError};
pub use exclusive::OwnError;
pub use guard::Guard;
pub use inheritance::Inheritance;
pub use instance::{Builder, Instance};
pub use lease::{Lease, LeaseError, Permit};
pub use listener::Listener;
pub use pool::Unclaimed;
pub use service::{Service, ServiceError};
pub use stage::Stage;
pub use state::{
    Item, ItemReader, Memory, State, StateBudget, StateError, StateWriter, StreamWriter,
};

pub use handover_proto::event::DrainReport;
pub use handover_proto::identity::InstanceId;
pub use handover_proto::settings::Ladder;
pub use handover_proto::state::{ItemSpec, Need};
pub use handover_sys::memfd::{Memfd, SealedMemfd};
