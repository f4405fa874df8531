//! What a program that owns data implements.

use std::future::Future;
use std::time::Duration;

use handover_proto::state::ItemSpec;

use crate::lease::Lease;
use crate::state::{State, StateWriter};

/// Why a hook of a [`Service`] could not do its part. Any error, so that `?` works.
pub type ServiceError = Box<dyn std::error::Error + Send + Sync>;

/// A program with one owner of data: a database directory, a device, a schedule, a cache worth
/// keeping. Its hooks are called in the order of a handover by
/// [`Instance::own`](crate::Instance::own); at most one runs at a time.
///
/// | hook | in | when | on an error |
/// |---|---|---|---|
/// | [`base`](Service::base) | incumbent | a successor was introduced; it still serves | the successor fails, nothing has changed |
/// | [`warm`](Service::warm) | successor | the base has arrived; the other one still serves | this process ends, the other serves on (I5) |
/// | [`drain`](Service::drain) | incumbent | the listeners wait and no permit is given out any more | the handover is aborted, `resume` follows |
/// | [`seal`](Service::seal) | incumbent | `drain` returned and every [`Permit`](crate::Permit) is gone | the lease is kept, `resume` follows (I3) |
/// | [`activate`](Service::activate) | successor | it holds the lease and all sealed state has arrived and been checked | this process ends, the other takes the lease back |
/// | [`resume`](Service::resume) | incumbent | the handover was aborted, or the new version failed its probation | this process ends |
///
/// # Cancellation
/// When something else must happen, the future of a running hook is dropped, at one of its
/// `.await`s, and the next hook is called: `base` when the successor is gone, `drain` when the
/// handover is aborted, any of them when the process is told to end. Only `seal` is never cancelled:
/// half a seal is no state to resume from. A hook that panics has failed, with the panic as reason;
/// the next hook is called all the same.
///
/// # Example
/// ```no_run
/// use std::time::Duration;
/// use handover::{Instance, ItemSpec, Lease, Service, ServiceError, State, StateWriter};
///
/// # struct Store; impl Store {
/// # fn preload(_: &[u8]) {} fn open(_: u64) -> Result<Self, ServiceError> { Ok(Self) }
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
///     async fn activate(&mut self, lease: Lease, mut state: State) -> Result<(), ServiceError> {
///         if let Some(sessions) = state.take("sessions") {
///             self.sessions = sessions.value()?;
///         }
///         self.store = Some(Store::open(lease.epoch().0)?); // fence your writes with the epoch
///         Ok(())
///     }
///     async fn seal(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
///         state.put_value("sessions", &self.sessions)?;
///         self.store.take().map_or(Ok(()), Store::close)
///     }
///     async fn resume(&mut self, lease: Lease) -> Result<(), ServiceError> {
///         self.store = Some(Store::open(lease.epoch().0)?);
///         Ok(())
///     }
/// }
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let instance = Instance::start("counter").await?;
///     let listener = instance.tcp("http", "127.0.0.1:8080").await?;
///     let lease = instance.own("/var/lib/counter", Counter::default()).await?;
///     # async fn serve(_: handover::Listener, _: Lease) {}
///     tokio::spawn(serve(listener, lease)); // each write asks `lease.enter().await?` first
///     instance.retired().await; // the store is closed and the lease released
///     Ok(())
/// }
/// ```
pub trait Service: Send + 'static {
    /// The items this version can write and read, each with the versions of its schema. Asked once.
    /// Both sides compare theirs before anything is given up: a successor that cannot read an item
    /// that the incumbent must pass on is refused while the incumbent still owns everything.
    /// By default none.
    fn manifest(&self) -> Vec<ItemSpec> {
        Vec::new()
    }

    /// In the incumbent, while it serves: writes a snapshot that a successor can load before its
    /// turn, so that only what has changed since is left for [`seal`](Service::seal). By default
    /// nothing.
    ///
    /// Cancelled when the successor goes away. May be called again for the next attempt.
    ///
    /// # Errors
    /// The attempt fails; this instance serves on.
    fn base(
        &mut self,
        state: &mut StateWriter,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send {
        let _ = state;
        std::future::ready(Ok(()))
    }

    /// In the successor: everything that needs no ownership, such as loading `base`, while the
    /// incumbent serves. It may take its time. `base` is empty when nobody serves, when the
    /// incumbent wrote none, or when it died. By default nothing.
    ///
    /// # Errors
    /// The attempt fails; [`Instance::own`](crate::Instance::own) returns the error.
    fn warm(&mut self, base: State) -> impl Future<Output = Result<(), ServiceError>> + Send {
        drop(base);
        std::future::ready(Ok(()))
    }

    /// Takes over: opens the data for writing under `lease`. Nobody else can write now. `state` is
    /// what the predecessor sealed, that is, what changed after its base; it is empty and
    /// [`State::is_sealed`] is false at a cold start, and when the predecessor died instead.
    ///
    /// Handlers get permits as soon as this has returned; do not wait for one in here.
    ///
    /// # Errors
    /// The attempt fails: [`Instance::own`](crate::Instance::own) returns the error, the service is
    /// dropped and the lease released.
    fn activate(
        &mut self,
        lease: Lease,
        state: State,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Finishes what else writes: background jobs, timers, buffers. Requests are held back already.
    /// `within` is how long the coordinator waits. Not called when the process is merely stopped.
    /// By default nothing.
    ///
    /// Cancelled when the handover is aborted: [`resume`](Service::resume) follows; and when the
    /// process is told to end: [`seal`](Service::seal) follows.
    ///
    /// # Errors
    /// The handover is aborted and `resume` follows.
    fn drain(&mut self, within: Duration) -> impl Future<Output = Result<(), ServiceError>> + Send {
        let _ = within;
        std::future::ready(Ok(()))
    }

    /// Flushes, closes for writing, and puts what the successor needs. After `Ok` the lease is
    /// released and this instance must not write any more. Also called, with a writer whose items
    /// nobody reads, when the process is stopped without a successor, so that the data is closed
    /// cleanly. Never cancelled.
    ///
    /// # Errors
    /// Nothing is given up; the handover is aborted and `resume` follows. So an error must leave
    /// the data in a state that `resume` can continue from.
    fn seal(
        &mut self,
        state: &mut StateWriter,
    ) -> impl Future<Output = Result<(), ServiceError>> + Send;

    /// Serves again: after a handover that was aborted anywhere after its drain began, or when the
    /// new version failed its probation. `lease.epoch()` is higher than before if the lease had
    /// been released; then somebody else may have written.
    ///
    /// # Errors
    /// The process cannot serve any more: the service is dropped, the lease released, and the
    /// coordinator starts another one.
    fn resume(&mut self, lease: Lease) -> impl Future<Output = Result<(), ServiceError>> + Send;
}
