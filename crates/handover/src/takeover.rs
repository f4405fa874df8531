//! Replacing a program that has no supervisor, with nothing dropped: by itself, or by a successor
//! that anybody starts.
//!
//! ```no_run
//! # #[cfg(feature = "axum")]
//! # async fn f(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! use handover::{Instance, Takeover};
//!
//! let instance = Instance::builder("web")
//!     .takeover(Takeover::new().pid_file("/run/web.pid"))
//!     .start()
//!     .await?;
//! let listener = instance.tcp("http", "0.0.0.0:8080").await?; // taken over, inherited, or bound
//! instance.ready().await?;
//! axum::serve(listener, app.layer(instance.reconnect_layer()))
//!     .with_graceful_shutdown(instance.draining())
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! | what happens | then |
//! |---|---|
//! | SIGHUP or SIGUSR2, or a [`request`] | the program is started again from its path and takes over from this process |
//! | the program is started once more, by whomever | it finds this process at the takeover socket and takes over |
//! | the new one is not ready in time, ends, or fails | the old one serves on, with everything it had |
//! | the old one ends meanwhile | the new one goes on alone |
//!
//! The successor gets every listener by its name, and with [`Instance::own`](crate::Instance::own)
//! the state and then the lease, exactly as under a supervisor. The process that serves decides: a
//! thread in it, `handover-takeover`, runs the same machine as a supervisor.
//!
//! # Who may
//! Whoever connects to the socket must be of the incumbent's uid, or root; the kernel says so. It
//! must be of the same service, and if there are Internet listeners of the same network namespace:
//! a listener that is passed to another one still belongs to the old one. One takes over at a time.

pub(crate) mod ask;
mod coordinator;
mod desk;
mod effects;
mod error;
mod estate;
pub(crate) mod exchange;
mod give;
mod host;
mod member;
mod options;
mod pid_file;
mod post;
mod request;
mod socket;
mod spawn;
mod trigger;
mod visitor;

pub use error::{ConnectError, TakeoverError};
pub use handover_proto::takeover::RefusedFor;
pub use options::Takeover;
pub use request::{
    Finished, Replies, Reply, Request, RequestError, Serving, request, socket_of, socket_path,
};

pub(crate) use estate::Shared;
pub(crate) use host::{Host, open};
