//! A node whose program is replaced by its successor on the same host: the processes stay, and cross
//! from program to program through memory, not over the network.
//!
//! | program before | the new one | others |
//! |---|---|---|
//! | [`hand_over`](crate::Hub::hand_over): processes finish the message they are at, then nothing moves | | calls wait |
//! | [`write`](HandedHub::write): identity, engine's seat, machine, states, mailboxes, replies, timers | | |
//! | | [`resume`](crate::Builder::resume): all as it was, still silent | |
//! | ends | [`serve`](Successor::serve) | connections break and come back; calls are sent again |
//! | or, if that fails, [`goes on`](HandedHub::go_on) | ends | the same |
//!
//! It is the same member under the same [`NodeId`](crate::proto::identity::NodeId) all the while, with
//! the same epochs: the engine notices nothing, unless it takes longer than a lease or than silence
//! counts as death. The socket must stay open, so that nobody is refused.
//!
//! At any moment one of the two may act, no more. That is up to whoever calls these: the new one must
//! not [serve](Successor::serve) before the one before can never [go on](HandedHub::go_on), and the
//! other way round. [`Builder::own`](crate::Builder::own) does all of it with the crate `handover`, and
//! is what a program should use.

mod estates;
mod owner;
mod unfit;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use handover_hub_proto::identity::{HubName, KindName, NodeName, ProcessId};
use handover_hub_proto::node::Handed;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub(crate) use self::estates::{Header, read_estate};
pub use self::owner::OwnError;
pub use self::unfit::Unfit;
use crate::child::ChildSpec;
use crate::driver::{Hold, Stage};
use crate::error::StartError;
use crate::hub::builder::{is_ready, start_static};
use crate::hub::{Hub, Shared};

/// How often it is looked whether everything rests.
const LOOK: Duration = Duration::from_millis(1);

/// How long everybody is held at a time for those who are not done yet, and how long between two
/// attempts nobody is: so that one process that takes long holds up no other for as long.
const ATTEMPT: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(100);

/// How long what was said before is waited for on its way out.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Why a node does not rest. It goes on as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Something did not come to its end in time.
    #[error("{reason}, for longer than {waited:?}; the node serves on")]
    Busy {
        /// What.
        reason: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The engine cannot be handed to another program.
    #[error("the engine of this hub cannot be handed to another program; the node serves on")]
    Engine,
    /// The node has left its hub.
    #[error("this node has left its hub")]
    Left,
}

/// Why what a node is was not written. It can [go on](HandedHub::go_on).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A process cannot be left to the new program.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// It cannot be encoded.
    #[error("what the node is cannot be encoded: {0}")]
    Encode(#[from] postcard::Error),
    /// Of whatever it is written to.
    #[error("what the node is cannot be written: {0}")]
    Io(#[from] std::io::Error),
}

/// Why a node does not go on in this program. The program before can go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// As when a node starts: its description, its address or its engine.
    #[error(transparent)]
    Start(#[from] StartError),
    /// What was written is that of another node.
    #[error("it was written by node {node} of hub {hub}, which this program does not run")]
    Other {
        /// Its hub.
        hub: HubName,
        /// Its name.
        node: NodeName,
    },
    /// The hub has another number of shards.
    #[error("the hub has {found} shards, this program is set to {expected}")]
    Shards {
        /// How many this program is set to.
        expected: u16,
        /// How many there are.
        found: u16,
    },
    /// A process cannot go on here.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// One that the node does not run.
    #[error("a process that the node does not run was handed over: {process}")]
    Unexpected {
        /// Which.
        process: ProcessId,
    },
    /// One that the node runs was not handed over.
    #[error("a process that the node runs was not handed over: {process}")]
    Missing {
        /// Which.
        process: ProcessId,
    },
    /// It cannot be read: it is of a later version, or damaged.
    #[error("what the program before wrote cannot be read: {0}")]
    Unreadable(String),
}

/// A node at rest: it takes no message, says nothing, and is to be succeeded by another program, or
/// to [go on](Self::go_on). Dropped, it rests on; the engine is not told that it goes.
pub struct HandedHub {
    hub: Hub,
    machine: Handed,
    seat: Vec<u8>,
}

impl std::fmt::Debug for HandedHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandedHub")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

/// A node in a new program, as it was in the one before; nobody knows yet that it is here. Dropped, it
/// is as if it had never been.
pub struct Successor {
    hub: Hub,
    staged: watch::Receiver<Stage>,
    children: Vec<ChildSpec>,
}

impl std::fmt::Debug for Successor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Successor")
            .field("hub", &self.hub)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Comes to rest, for a successor on this host: every process finishes the message it is at, what
    /// is being started or moved comes to its end, then nothing more is done or said.
    ///
    /// Dropped before it is ready, the node may be partly at rest: [`go_on`](Self::go_on).
    ///
    /// # Errors
    ///
    /// [`HandOverError`]; it goes on.
    pub async fn hand_over(&self, within: Duration) -> Result<HandedHub, HandOverError> {
        let began = Instant::now();
        loop {
            let left = within.saturating_sub(began.elapsed());
            match self.rest(left.min(ATTEMPT)).await {
                Ok(handed) => return Ok(handed),
                Err(HandOverError::Busy { reason, .. }) => {
                    self.go_on().await;
                    let waited = began.elapsed();
                    if waited >= within {
                        return Err(HandOverError::Busy { reason, waited });
                    }
                }
                Err(error) => {
                    self.go_on().await;
                    return Err(error);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn rest(&self, within: Duration) -> Result<HandedHub, HandOverError> {
        let (shared, reins) = (self.shared(), &self.seat().reins);
        let began = Instant::now();
        shared.hold(true);
        let machine = loop {
            let reason = match shared.busy() {
                Some(process) => format!("process {process} is at a message, or is being moved"),
                None => {
                    let (said, heard) = oneshot::channel();
                    let asked = reins.driver.send(Hold::Rest(said)).await;
                    asked.map_err(|_| HandOverError::Left)?;
                    match heard.await.map_err(|_| HandOverError::Left)? {
                        Ok(machine) => break machine,
                        Err(reason) => reason,
                    }
                }
            };
            let waited = began.elapsed();
            if waited >= within {
                return Err(HandOverError::Busy { reason, waited });
            }
            tokio::time::sleep(LOOK).await;
        };
        // Resting, the driver has given its last orders: what comes of them it would not hear.
        shared.is_still(began)?;
        let seat = reins.engine.rest().await.ok_or(HandOverError::Engine)?;
        self.close_operators();
        shared.transport.rest(LAST_WORDS).await;
        shared.is_still(began)?;
        Ok(HandedHub {
            hub: self.clone(),
            machine,
            seat,
        })
    }

    /// Goes on after a rest, or after one that was not completed; else nothing changes.
    pub async fn go_on(&self) {
        if self.shared().is_held() {
            self.wake().await;
            self.release();
        }
    }

    /// It speaks and listens again.
    async fn wake(&self) {
        self.shared().transport.resume().await;
        let reins = &self.seat().reins;
        reins.engine.go_on().await;
        // A driver that has ended has left the hub.
        let _ = reins.driver.send(Hold::GoOn).await;
        if let Err(error) = self.serve_operators().await {
            tracing::warn!(%error, "operators are not served any more");
        }
    }

    /// Its processes take messages again.
    fn release(&self) {
        let shared = self.shared();
        shared.hold(false);
        for cell in shared.cells.all() {
            cell.go_on(shared);
        }
    }

    /// The kinds of which processes are here.
    pub(crate) fn kinds_here(&self) -> BTreeSet<KindName> {
        let cells = self.shared().cells.all();
        cells.iter().filter_map(|cell| cell.kind()).collect()
    }
}

impl Shared {
    /// Holds all processes, or lets those go on that are not held by something else.
    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Nobody has been given anything to do since all rested.
    fn is_still(&self, began: Instant) -> Result<(), HandOverError> {
        match self.busy() {
            None => Ok(()),
            Some(process) => Err(HandOverError::Busy {
                reason: format!("process {process} was told something at the last moment"),
                waited: began.elapsed(),
            }),
        }
    }

    /// One that does not rest yet; all are told to.
    fn busy(&self) -> Option<ProcessId> {
        let cells = self.cells.all();
        let mut busy = None;
        for cell in &cells {
            if !cell.rest() {
                busy.get_or_insert_with(|| cell.id().clone());
            }
        }
        busy
    }
}

impl HandedHub {
    /// The successor does not come: it goes on.
    pub async fn go_on(self) -> Hub {
        self.hub.go_on().await;
        self.hub
    }
}

impl Successor {
    pub(crate) fn new(hub: Hub, staged: watch::Receiver<Stage>, children: Vec<ChildSpec>) -> Self {
        Self {
            hub,
            staged,
            children,
        }
    }

    /// The node, which rests until it serves.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The program before is gone, or will never go on: this one does.
    ///
    /// # Errors
    ///
    /// [`StartError::Ended`]: the engine has ended. [`StartError::Child`]: a static child that is new in
    /// this program did not start.
    pub async fn serve(mut self) -> Result<Hub, StartError> {
        self.hub.wake().await;
        // Who has which replica is known only then.
        is_ready(&mut self.staged).await?;
        self.hub.release();
        start_static(&self.hub, self.children).await?;
        Ok(self.hub)
    }
}
