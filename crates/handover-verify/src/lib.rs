//! Proves or refutes a zero-downtime claim: puts a steady load on an HTTP
//! service, upgrades it meanwhile by any means, and reports every request
//! that was lost, by kind, and every delay.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use handover_verify::{CommandTrigger, Plan, run};
//!
//! let mut plan = Plan::new("http://127.0.0.1:8080/")?;
//! plan.upgrades = 10;
//! let trigger = CommandTrigger::new("systemctl reload my-service");
//! let report = run(&plan, trigger, |progress| eprintln!("{progress:?}")).await?;
//! print!("{}", report.table());
//! report.write_to("verify-report".as_ref())?;
//! std::process::exit(if report.lossless() { 0 } else { 20 });
//! # }
//! ```
//!
//! # What is measured
//! The load is **open loop**: requests are due at a fixed rate, whatever
//! becomes of those before them, and latency is counted from when each was
//! *due*. A server that stalls for half a second delays every request due in
//! that time, and each of them counts. Nothing is retried. A request due that
//! this machine cannot send is counted as lost, as [`LossKind::NotSent`], never left out.
//!
//! Each kind of load ([`Load`]) is a client in a thread of its own:
//! - **new**: a connection per request, with `Connection: close`.
//! - **keep-alive**: requests over a fixed set of connections; the longest
//!   idle one is used next. A connection the server closes while it is idle,
//!   before anything was sent on it, is made anew and counted as
//!   [`idle_closed`](ClientReport::idle_closed), no loss. A close after a
//!   request was sent and before its answer is a [loss](LossKind::Cut).
//! - **slow**: a fixed number of requests to a slow path at any moment.
//! - **upload**: requests sent in two halves, a pause between.
//!
//! Losses are told apart by what was seen on the wire, not by the HTTP
//! library's words: see [`LossKind`].
//!
//! # Limits
//! - Plain HTTP/1.1 only: no TLS, no HTTP/2.
//! - An answer with neither `Content-Length` nor chunks ends with the
//!   connection; one that is cut short cannot be told from a complete one.
//!   Expect a text near its end ([`Expect::body`]) if the service answers like that.
//! - A server that closes a connection at the very moment a request is sent
//!   on it loses that request; HTTP/1.1 has no remedy, and it counts as
//!   cut or reset. A server that answers `Connection: close` first avoids it.
//! - A name with several addresses: the first one that answers is loaded.
//! - The load comes from the machine this runs on, and shares its processors
//!   with whatever else runs there; [`ClientReport::max_lag_ms`] tells how
//!   late its own requests left.
//! - Unix only.

#![forbid(unsafe_code)]

mod client;
mod clock;
mod error;
mod exchange;
#[cfg(fuzzing)]
pub mod fuzzing;
mod latency;
mod ledger;
mod loss;
mod pacer;
mod plan;
mod progress;
mod report;
mod run;
mod series;
mod stream;
mod target;
mod trigger;
mod window;

pub use error::{ReportError, TriggerError, VerifyError};
pub use latency::Latency;
pub use loss::LossKind;
pub use plan::{
    DEFAULT_MAX_IN_FLIGHT, Expect, MAX_CONNECTIONS, MAX_RATE, MAX_UPLOAD, MIN_UPLOAD, Plan, Slow,
    Upload,
};
pub use progress::{Phase, Progress};
pub use report::{ClientReport, Example, FORMAT, Load, Report, Tester, Upgrade};
pub use run::run;
pub use series::Series;
pub use target::Target;
pub use trigger::{CommandTrigger, Trigger, TriggerReport, UPGRADE_NUMBER};
