//! The same instance for programs without an async runtime: threads that block, and poll(2).
//!
//! ```no_run
//! use handover::blocking::Instance;
//! use std::io::{Read, Write};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let instance = Instance::start("echo")?;
//! let listener = instance.tcp("echo", "0.0.0.0:7000")?; // inherited, or bound
//! instance.ready()?;
//! for connection in listener.incoming() {
//!     let mut connection = connection?;
//!     std::thread::spawn(move || std::io::copy(&mut &connection, &mut &connection));
//! }
//! println!("{:?}", instance.retired()); // what the drain achieved
//! # Ok(())
//! # }
//! ```
//!
//! Machines, frames, ladder and account are those of [`crate::Instance`]; what it says about
//! phases holds here too. Names are the same, and a future there is a wait here:
//!
//! | there | here |
//! |---|---|
//! | `draining().await` | [`Instance::draining`], with a time-out [`Instance::draining_within`] |
//! | `accept()` never resolves once stopped | [`Listener::accept`] returns `None` |
//! | dropping a future cancels it | nothing is cancelled; a cut ends reads and writes |
//!
//! In place of layers for HTTP frameworks stand [`Instance::asks_to_reconnect`] and
//! [`Lease::enter_blocking`](crate::Lease::enter_blocking).
//!
//! # What runs where
//! One thread, `handover`, talks to the coordinator and keeps the ladder's time. Its only wait is
//! poll(2); it holds an eventfd for requests and a socket pair for signals, and ends when no handle,
//! listener or guard is left (under a coordinator: with the process). An owner of data has a second
//! one for its hooks, `handover-hooks`, and a third for as long as an attempt brings state,
//! `handover-state`. No runtime runs; that of a program that has one is not touched.
//!
//! # Signals
//! SIGTERM and SIGINT begin the drain through a handler that writes one byte to that pair. Not by
//! signalfd(2): it needs the signals blocked in every thread, and a library cannot reach threads
//! that run already. The handler keeps and calls any handler that was installed before by way of
//! `signal-hook` or tokio, restarts interrupted system calls (`SA_RESTART`), and is installed when
//! somebody first accepts, receives or waits for the drain.

mod connection;
mod conversation;
mod core;
mod datagram;
mod driver;
mod guard;
mod hooks;
mod instance;
mod link;
mod listener;
mod open;
mod own;
mod park;
mod service;
mod signals;
mod slot;
mod stream;

pub use connection::Connection;
pub use datagram::UdpSocket;
pub use guard::Guard;
pub use instance::{Builder, Instance};
pub use listener::{Incoming, Listener};
pub use service::Service;
pub use stream::Stream;
