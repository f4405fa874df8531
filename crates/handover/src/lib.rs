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
//! # One owner of data
//! A program that owns a database directory, a device or a schedule implements [`Service`] and asks
//! for the right to write: [`Instance::own`] instead of [`Instance::ready`], under
//! `handover run --exclusive` or with nobody around. The new version does everything slow while the
//! old one serves; then writers are held back, the old one seals, and the new one takes the lock of
//! the directory, under a higher [epoch](Lease::epoch). A handover that fails before the new version
//! is ready gives everything back.
//!
//! ```no_run
//! use handover::{Instance, ItemSpec, Lease, Service, ServiceError, State, StateWriter};
//!
//! /// Its hits are on disk; who is logged in is in memory only, and crosses.
//! #[derive(Default)]
//! struct Site {
//!     sessions: Vec<String>,
//! }
//!
//! impl Service for Site {
//!     fn manifest(&self) -> Vec<ItemSpec> {
//!         vec![ItemSpec::required("sessions").versions(1..=1)]
//!     }
//!     async fn activate(&mut self, _: Lease, mut state: State) -> Result<(), ServiceError> {
//!         if let Some(sessions) = state.take("sessions") {
//!             self.sessions = sessions.value()?;
//!         }
//!         Ok(()) // open the store for writing here
//!     }
//!     async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
//!         Ok(state.put_value("sessions", &self.sessions)?) // flush and close it here
//!     }
//!     async fn resume(&mut self, _: Lease) -> Result<(), ServiceError> {
//!         Ok(()) // the handover was aborted: open it again
//!     }
//! }
//!
//! # #[cfg(feature = "axum")]
//! # async fn f(writes: axum::Router, reads: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! let instance = Instance::start("site").await?;
//! let listener = instance.tcp("http", "0.0.0.0:8080").await?;
//! instance.own("/var/lib/site", Site::default()).await?;
//! let app = writes
//!     .layer(instance.owner_layer()) // only the owner lets these in
//!     .merge(reads)
//!     .layer(instance.reconnect_layer());
//! axum::serve(listener, app)
//!     .with_graceful_shutdown(instance.draining())
//!     .await?;
//! instance.retired().await; // sealed, and the lease released
//! # Ok(())
//! # }
//! ```
//!
//! What crosses is written item by item ([`StateWriter`]): small ones in the channel between the two
//! processes, large ones as sealed memory that the new version maps. What can cross is compared
//! before anything is given up; a base can be written while the old version serves
//! ([`Service::base`]), so that only what changed since is left for the pause.
//!
//! # Containers
//! Two containers share no parent and no socket. With the feature `container`, `container::Peer`
//! finds the older instances of its service over a volume or the network and drains for younger
//! ones: balena's `hand-over` strategy, wire-compatible with handover-lib.
//!
//! # Features
//! None is on by default.
//!
//! | feature | adds |
//! |---|---|
//! | `axum` | the listener of `axum::serve`, and the layers that ask clients to reconnect and let in writers |
//! | `container` | `container`: instances that hand over from container to container |
//! | `supervisor` | `supervisor`: what is behind `handover run` |
//!
//! # Limits
//! - Linux only. [`Instance`] needs a tokio runtime with I/O and time; [`blocking::Instance`] needs
//!   none.
//! - The lock keeps out those who ask for it, on filesystems where locks exclude; see [`lease`].
//! - An established connection does not move to the next instance; it ends where it began.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod address;
#[cfg(feature = "axum")]
mod axum;
mod bell;
mod beyond;
mod birth;
pub mod blocking;
mod conduct;
mod connection;
#[cfg(feature = "container")]
pub mod container;
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
mod introduction;
pub mod lease;
mod ledger;
mod link;
mod listener;
mod log_file;
mod notice;
#[cfg(feature = "axum")]
pub mod owner;
mod pool;
#[cfg(any(feature = "container", feature = "supervisor"))]
mod readable;
#[cfg(feature = "axum")]
pub mod reconnect;
pub mod runtime;
mod service;
mod signals;
mod stage;
mod state;
#[cfg(feature = "supervisor")]
pub mod supervisor;
pub mod takeover;

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
pub use log_file::LogFile;
pub use pool::Unclaimed;
pub use service::{Service, ServiceError};
pub use stage::Stage;
pub use state::{
    Item, ItemReader, Memory, State, StateBudget, StateError, StateWriter, StreamWriter,
};
pub use takeover::Takeover;

pub use handover_proto::event::DrainReport;
pub use handover_proto::identity::InstanceId;
pub use handover_proto::settings::Ladder;
pub use handover_proto::state::{ItemSpec, Need};
pub use handover_sys::memfd::{Memfd, SealedMemfd};
