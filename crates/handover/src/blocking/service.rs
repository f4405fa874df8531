//! What a program that owns data implements, without async.

use std::time::Duration;

use handover_proto::state::ItemSpec;

use crate::lease::Lease;
use crate::service::ServiceError;
use crate::state::{State, StateWriter};

/// A program with one owner of data: [`crate::Service`] with functions that block. What each hook
/// is for, when it is called and what its error means is said there.
///
/// The hooks run on a thread of their own, `handover-hooks`, one at a time.
///
/// # Nothing is cancelled
/// Where an async hook would be cancelled, here the next one waits until it returns, and what it
/// returns is ignored. So let `drain` and `base` look at the clock: a `drain` that takes longer than
/// it was given aborts the handover, but `resume` follows only when it has returned, and until then
/// nothing is written. A `base` whose successor is gone finds out by its next
/// [`put`](StateWriter::put), which fails.
///
/// # Example
/// ```no_run
/// use handover::blocking::{Instance, Service};
/// use handover::{ItemSpec, Lease, ServiceError, State, StateWriter};
///
/// # struct Store; impl Store {
/// # fn open(_: u64) -> Result<Self, ServiceError> { Ok(Self) }
/// # fn close(self) -> Result<(), ServiceError> { Ok(()) } }
/// #[derive(Default)]
/// struct Counter {
///     store: Option<Store>,
///     sessions: Vec<String>,
/// }
///
/// impl Service for Counter {
///     fn manifest(&self) -> Vec<ItemSpec> {
///         vec![ItemSpec::required("sessions").versions(1..=1)]
///     }
///     fn activate(&mut self, lease: Lease, mut state: State) -> Result<(), ServiceError> {
///         if let Some(sessions) = state.take("sessions") {
///             self.sessions = sessions.value()?;
///         }
///         self.store = Some(Store::open(lease.epoch().0)?); // fence your writes with the epoch
///         Ok(())
///     }
///     fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
///         state.put_value("sessions", &self.sessions)?;
///         self.store.take().map_or(Ok(()), Store::close)
///     }
///     fn resume(&mut self, lease: Lease) -> Result<(), ServiceError> {
///         self.store = Some(Store::open(lease.epoch().0)?);
///         Ok(())
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let instance = Instance::start("counter")?;
///     let listener = instance.tcp("http", "127.0.0.1:8080")?;
///     let lease = instance.own("/var/lib/counter", Counter::default())?;
///     # fn serve(_: handover::blocking::Connection, _: Lease) {}
///     for connection in listener.incoming() {
///         let (connection, lease) = (connection?, lease.clone());
///         // Each write asks `lease.enter_blocking()?` first.
///         std::thread::spawn(move || serve(connection, lease));
///     }
///     instance.retired(); // the store is closed and the lease released
///     Ok(())
/// }
/// ```
pub trait Service: Send + 'static {
    /// The items this version can write and read; see [`crate::Service::manifest`]. By default
    /// none.
    fn manifest(&self) -> Vec<ItemSpec> {
        Vec::new()
    }

    /// In the incumbent, while it serves: a snapshot to warm with; see [`crate::Service::base`]. By
    /// default nothing.
    ///
    /// # Errors
    /// The attempt fails; this instance serves on.
    fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        let _ = state;
        Ok(())
    }

    /// In the successor: everything that needs no ownership; see [`crate::Service::warm`]. By
    /// default nothing.
    ///
    /// # Errors
    /// The attempt fails; [`Instance::own`](super::Instance::own) returns the error.
    fn warm(&mut self, base: State) -> Result<(), ServiceError> {
        drop(base);
        Ok(())
    }

    /// Takes over: opens the data for writing under `lease`; see [`crate::Service::activate`].
    ///
    /// # Errors
    /// The attempt fails: [`Instance::own`](super::Instance::own) returns the error, the service is
    /// dropped and the lease released.
    fn activate(&mut self, lease: Lease, state: State) -> Result<(), ServiceError>;

    /// Finishes what else writes, within this time; see [`crate::Service::drain`]. By default
    /// nothing.
    ///
    /// # Errors
    /// The handover is aborted and `resume` follows.
    fn drain(&mut self, within: Duration) -> Result<(), ServiceError> {
        let _ = within;
        Ok(())
    }

    /// Flushes, closes for writing, and puts what the successor needs; see
    /// [`crate::Service::seal`].
    ///
    /// # Errors
    /// Nothing is given up; the handover is aborted and `resume` follows.
    fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError>;

    /// Serves again after a handover that was aborted, or whose new version failed its probation;
    /// see [`crate::Service::resume`].
    ///
    /// # Errors
    /// The process cannot serve any more: the service is dropped and the lease released.
    fn resume(&mut self, lease: Lease) -> Result<(), ServiceError>;
}
