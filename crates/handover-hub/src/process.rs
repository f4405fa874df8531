//! What a user writes: the code of one kind of process.

mod context;
mod handed;

use std::future::Future;
use std::ops::RangeInclusive;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::context::Context;
pub(crate) use self::context::End;
pub use self::handed::{Handed, HandedError};
pub use handover_hub_proto::row::Role;

/// A kind of stateful process: a mailbox, a state, and what to do with a message.
///
/// A process takes one message at a time, on whichever node it lives; its state is its own. When it
/// moves, the message it is at is finished, its state and the messages that wait go to the new
/// node, and it continues there. Callers see a pause, no error.
///
/// Every hook runs under `catch_unwind`. A panic in [`start`](Self::start) or
/// [`handle`](Self::handle) is a crash, which starts the process again as its
/// [`Restart`](handover_hub_proto::spec::Restart) says; a panic in a hook of a move ends the move,
/// and the process continues where it was.
///
/// ```
/// use handover_hub::process::{Context, Process, Stop};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Account {
///     balance: i64,
/// }
///
/// #[derive(Serialize, Deserialize)]
/// struct Deposit(i64);
///
/// impl Process for Account {
///     type Argument = i64;
///     type Request = Deposit;
///     type Reply = i64;
///
///     async fn start(balance: i64, _: &Context) -> Result<Self, Stop> {
///         Ok(Self { balance })
///     }
///
///     async fn handle(&mut self, Deposit(amount): Deposit, _: &mut Context) -> i64 {
///         self.balance += amount;
///         self.balance
///     }
/// }
/// ```
pub trait Process: Serialize + DeserializeOwned + Send + 'static {
    /// What it is started with. Kept in the registry: a process whose node died is started with it
    /// again elsewhere.
    type Argument: Serialize + DeserializeOwned + Send + 'static;
    /// What it is asked.
    type Request: Serialize + DeserializeOwned + Send + 'static;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// The version of its state as this program writes it. Raise it with each change of what
    /// [`prepare_handover_state`](Self::prepare_handover_state) writes.
    const SCHEMA: u32 = 1;
    /// The versions that [`alter_handover_state`](Self::alter_handover_state) reads. While two
    /// versions of a program run in one cluster a process moves only where its state can be read.
    const READS: RangeInclusive<u32> = Self::SCHEMA..=Self::SCHEMA;
    /// The versions that [`prepare_handover_state`](Self::prepare_handover_state) can write. With
    /// an older one in it a process can go back to nodes that run the previous program.
    const WRITES: RangeInclusive<u32> = Self::SCHEMA..=Self::SCHEMA;

    /// Constructs it. Also runs on the target of a move, before the state arrives: then what it
    /// makes is what [`alter_handover_state`](Self::alter_handover_state) takes over.
    ///
    /// # Errors
    ///
    /// What it says if it cannot: the start, or the move, has failed.
    fn start(
        argument: Self::Argument,
        context: &Context,
    ) -> impl Future<Output = Result<Self, Stop>> + Send;

    /// Handles one message. The reply of a cast is dropped.
    ///
    /// It is not cancelled by a caller that gives up. A process that is stopped, or whose node
    /// leaves, finishes the message it is at first.
    fn handle(
        &mut self,
        request: Self::Request,
        context: &mut Context,
    ) -> impl Future<Output = Self::Reply> + Send;

    /// Writes the state that its successor continues from, in the given version, one of
    /// [`WRITES`](Self::WRITES). It takes no message after this unless the move fails.
    ///
    /// By default all of it, by serde, in its only version.
    ///
    /// # Errors
    ///
    /// What it says if it cannot: the move has failed, and it continues here.
    fn prepare_handover_state(&mut self, schema: u32) -> Result<Handed, Stop> {
        Ok(Handed::encode(schema, self)?)
    }

    /// Takes over what its predecessor handed, whose version is one of [`READS`](Self::READS).
    /// `self` is what [`start`](Self::start) made.
    ///
    /// By default it is replaced by what serde reads.
    ///
    /// # Errors
    ///
    /// What it says if it cannot: the move has failed, and its predecessor continues.
    fn alter_handover_state(self, handed: Handed) -> Result<Self, Stop> {
        Ok(handed.decode()?)
    }

    /// Prepares what takes long (caches, connections) on the target of a move, while its
    /// predecessor still answers.
    ///
    /// # Errors
    ///
    /// What it says if it cannot: the move has failed.
    fn warm(&mut self, _context: &Context) -> impl Future<Output = Result<(), Stop>> + Send {
        async { Ok(()) }
    }

    /// It answers from here on: on its new node after a move, on its old one after a move that
    /// failed. A panic in it is a crash.
    fn resume(&mut self, _context: &Context) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Whether it may be moved now. One that defers is asked again, and moved without being asked
    /// when it deferred for too long.
    fn consent(&self) -> Consent {
        Consent::Ready
    }

    /// It is told what it is for: when it begins to answer as a replica, and when that changes.
    ///
    /// One that panics when it begins does not start. When its role changes, a panic is told as
    /// [`HookFailed`](handover_hub_proto::event::Event::HookFailed), and it has that role.
    fn role(&mut self, _role: Role) {}

    /// Takes in the state of another copy that ran while the network was divided; this one has the
    /// higher epoch. By default the other's state is dropped.
    ///
    /// # Errors
    ///
    /// What it says if it cannot: the other's state is dropped, as after a panic, and the process
    /// goes on. [`MoveFailed`](handover_hub_proto::event::Event::MoveFailed) says why.
    fn merge(&mut self, _other: Handed) -> Result<(), Stop> {
        Ok(())
    }

    /// It ends for good: stopped by a command, or by its own wish. Not on a node that it moved
    /// away from.
    fn stop(self, _context: &Context) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Whether a process may be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// At once.
    Ready,
    /// Later; [`Context::ready_to_move`] says when, else it is asked again.
    Defer,
}

/// Why a process cannot go on, in its own words.
///
/// Any error becomes one by `?`, so it is none itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop(String);

impl Stop {
    /// A reason.
    #[must_use]
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}
