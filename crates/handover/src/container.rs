//! Containers hand over: an old one serves until a new one of the same service is ready, although
//! they share no parent, no socket and perhaps no clock that can be trusted. Made for balena's
//! `hand-over` update strategy, and wire-compatible with handover-lib (npm 0.0.10), which does the
//! same in Node.
//!
//! ```no_run
//! # struct Server;
//! # impl Server {
//! #     async fn start() -> std::io::Result<Self> { Ok(Self) }
//! #     async fn stop(&self) {}
//! # }
//! use std::sync::Arc;
//! use std::time::SystemTime;
//!
//! use handover::container::Peer;
//! use tokio::signal::unix::{SignalKind, signal};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let peer = Peer::new(SystemTime::now())?; // by the environment: see `Environment`
//!     let mut terminate = signal(SignalKind::terminate())?;
//!
//!     let server = Arc::new(Server::start().await?);
//!     let stops = Arc::clone(&server);
//!     // Called once, when a younger container serves. Then the handover-complete file is written.
//!     peer.listen(async move || stops.stop().await).await?;
//!     peer.announce().await?; // ready: older containers drain now
//!
//!     terminate.recv().await; // stay until the platform ends the container
//!     peer.finish().await?; // drains if that has not happened, and writes the file
//!     Ok(())
//! }
//! ```
//!
//! # What happens
//! | old container | new container |
//! |---|---|
//! | serves | starts, becomes ready, announces itself |
//! | asks whether it is there | answers |
//! | drains, and says so every second | serves, and says so every second |
//! | serves no more: probation begins (10 s) | says that it heard |
//! | the probation is over, the new one was heard: the file is written | serves alone |
//!
//! When the new one falls silent for 5 s, or says that it failed, before the probation is over, the
//! old one takes back. That, and with it the probation, is for programs that can serve again after
//! they were drained ([`Peer::listen_and_resume`]). Then it is the youngest, and a new one that
//! was only cut off drains in its turn: one of them serves in the end.
//!
//! # Who is younger
//! On one device: by a number from a register in the volume, or without one by the time since boot
//! at which each began. The wall clock plays no part, so it may be wrong or be stepped. An instance
//! of another device, which has another boot id, is ignored.
//!
//! # Ways to the others
//! With [`Builder::volume`], a directory that both containers mount: sockets in it; then listeners
//! can cross too, if both are in one network namespace ([`Conduct::take_listeners`]). Without one:
//! multicast on the interfaces that [`Network`] names, of this link only. [`Way::Chosen`] says which
//! and why. Both containers need the same: an instance with a volume does not hear one without.
//!
//! # Legacy peers
//! Announced to and heard beside, on their own port: a release in Node can be replaced by one with
//! this library, and the other way round. Their datagrams name no service and anybody can send one:
//! two services on one network retire each other, and a forged time retires any. A key
//! ([`Builder::key`]) authenticates version 3; legacy peers are then announced to and not obeyed,
//! unless [`Legacy::Obey`] is asked for. Nothing confirms that a legacy successor is alive: the file
//! is written once the drain is over.
//!
//! # Load balancers
//! [`Status`] tells them whether this instance is up, [`StatusListener`] hears it; see [`status`].
//!
//! # Limits
//! - A time namespace with another boot time than its neighbours' (rare in containers) needs a
//!   volume.
//! - Datagrams over a volume need it on a filesystem of the device, with sockets.
//! - Anybody who can write to the volume's directory of a service is trusted: it is private to its
//!   user.

mod builder;
mod complete;
mod conduct;
mod driver;
mod environment;
mod key;
mod lookout;
mod medium;
mod multicast;
mod network;
mod news;
mod peer;
mod random;
mod register;
pub mod status;
mod volume;

pub use builder::{BeginError, Builder};
pub use complete::{CompleteError, CompleteFile};
pub use conduct::{Conduct, Standing, Step, Teller};
pub use environment::{Environment, EnvironmentError};
pub use handover_proto::container::event::{Cause, Event, Successor};
pub use handover_proto::container::order::{Entry, Order};
pub use handover_proto::container::peer::Phase;
pub use handover_proto::container::settings::Legacy;
pub use handover_proto::container::{BootId, PeerId, RegisterId};
pub use key::{Key, KeyError, KeyFileError, read_key};
pub use lookout::Serving;
pub use multicast::GroupError;
pub use network::{DEFAULT_INTERFACE, Link, Network, Protocol};
pub use news::{Medium, News, Way};
pub use peer::{Events, Peer, PeerError};
pub use register::RegisterError;
pub use status::{Status, StatusError, StatusListener};
pub use volume::{Crossed, CrossingError, VolumeError};
