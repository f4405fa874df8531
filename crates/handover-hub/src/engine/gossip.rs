//! Members and owners by gossip: nothing to run beside the hub.
//!
//! [chitchat](https://docs.rs/chitchat) spreads what every node says of itself, over the hub's own
//! connections, and judges by a phi accrual detector who is alive. Around it:
//!
//! - What must not wait for gossip is sent at once to all members: that a node joins, what it claims,
//!   that it leaves. Gossip repairs what was lost.
//! - A node whose connections broke and whose address refuses new ones is gone at once: its kernel
//!   said that the process is.
//! - Shards are claimed by the rule of [`claim`](handover_hub_proto::claim): the higher term wins,
//!   then the higher node.
//!
//! In a divided network each part has owners of its own, and nobody is fenced; see
//! [`Guarantees`]. When it heals, the rule says who stays. Use etcd where two owners must never be.
//!
mod claims;
mod driver;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod mail;
mod roster;
mod scuttlebutt;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use handover_hub_proto::view::{Guarantees, Member};
use tokio::sync::{mpsc, oneshot};

use self::driver::{Driver, Ears};
use self::seat::Seat;
use super::{BoxFuture, Charter, Engine, EngineError, Post, SeatHolder, Session, Validity};
use crate::transport::Posted;

/// Events and orders that may wait for whoever takes them.
const QUEUE: usize = 1024;

/// How fast gossip is, and how soon silence is death.
///
/// With the usual pace each of twenty idle nodes sends some 18 messages and 17 kB a second and takes
/// a fifth of a percent of a processor.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Between two rounds of gossip. In each, a node tells three others, and seeds now and then.
    ///
    /// Half a second: what is urgent does not wait for it, and a node is known to be alive from many
    /// sides within it.
    pub interval: Duration,
    /// How many times the usual time between two signs of life has to pass without one until a node
    /// is held for dead.
    ///
    /// Eight: with the usual interval some four seconds, longer than a loaded machine stands still,
    /// and as long as a broken connection takes to be noticed.
    pub suspicion: f64,
    /// How long a node that was heard directly may stay unknown to gossip before it is held for dead.
    ///
    /// Ten seconds: more than enough rounds for everybody to have heard of it.
    pub grace: Duration,
    /// How long the dead are remembered, and tried to be reached in case the network was divided.
    ///
    /// An hour; after that a divided network is only healed by seeds.
    pub memory: Duration,
    /// How long a node that is its own seed waits for other seeds before it serves alone.
    ///
    /// Three seconds: seeds that are started together find each other.
    pub alone_after: Duration,
    /// How long a node that is not a seed looks for one until its start fails.
    pub patience: Duration,
    /// How long a start goes on when seeds reject the node: it may be its predecessor of the same
    /// name that they have not yet found to be dead.
    ///
    /// Ten seconds: more than twice what that takes.
    pub rejected_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            suspicion: 8.0,
            grace: Duration::from_secs(10),
            memory: Duration::from_secs(3600),
            alone_after: Duration::from_secs(3),
            patience: Duration::from_secs(60),
            rejected_after: Duration::from_secs(10),
        }
    }
}

/// The gossip engine of one node.
#[derive(Clone, Debug, Default)]
pub struct Gossip {
    seeds: Vec<String>,
    pace: Pace,
}

impl Gossip {
    /// Joins the cluster that any of these addresses, `host:port`, belongs to. Names are resolved
    /// again whenever they are dialled.
    ///
    /// A node that is listed itself serves alone if it reaches none of the others; one that is not
    /// waits for them. All nodes may be given the same list.
    #[must_use]
    pub fn seeds<S: Into<String>>(seeds: impl IntoIterator<Item = S>) -> Self {
        Self {
            seeds: seeds.into_iter().map(Into::into).collect(),
            pace: Pace::default(),
        }
    }

    /// Starts a cluster, for others to join.
    #[must_use]
    pub fn alone() -> Self {
        Self::default()
    }

    /// Sets how fast it is. All nodes of a hub should agree.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }
}

impl Engine for Gossip {
    fn guarantees(&self) -> Guarantees {
        Guarantees {
            exclusive: false,
            lease: None,
        }
    }

    fn start(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        post: Post,
    ) -> BoxFuture<Result<Session, EngineError>> {
        Box::pin(async move {
            let sane = self.pace.suspicion >= 1.0 && !self.pace.interval.is_zero();
            if !sane {
                return Err(EngineError::Setting {
                    setting: "gossip's pace",
                    found: format!("{:?}", self.pace),
                    expected: "its interval has to be positive, its suspicion at least 1",
                });
            }
            let (session, ears) = ends(post.inbox);
            let (joined, has_joined) = oneshot::channel();
            let driver = Driver::new(*self, me, hub, post.outbox);
            let task = tokio::spawn(driver.run(ears, joined));
            let mut stop = AbortOnDrop(Some(task.abort_handle()));
            let joined = has_joined.await;
            stop.0 = None;
            match joined {
                Ok(Ok(())) => Ok(session),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(EngineError::Unexpected {
                    reason: "gossip ended before it began".to_owned(),
                }),
            }
        })
    }

    fn resume(
        self: Box<Self>,
        me: Member,
        hub: Charter,
        post: Post,
        seat: Vec<u8>,
    ) -> BoxFuture<Result<Session, EngineError>> {
        Box::pin(async move {
            let seat = Seat::decode(&seat)?;
            let (session, ears) = ends(post.inbox);
            let driver = Driver::succeeding(*self, me, hub, post.outbox, seat);
            tokio::spawn(driver.take_over(ears));
            Ok(session)
        })
    }
}

/// What the hub holds, and what the driver listens to.
fn ends(inbox: mpsc::Receiver<Posted>) -> (Session, Ears) {
    let (events, events_said) = mpsc::channel(QUEUE);
    let (orders_given, orders) = mpsc::channel(QUEUE);
    let (holder, seat) = SeatHolder::new();
    let session = Session {
        events: events_said,
        orders: orders_given,
        valid: Arc::new(Validity::unlimited()),
        seat: holder,
    };
    let ears = Ears {
        inbox,
        orders,
        events,
        seat,
    };
    (session, ears)
}

/// Ends the driver of a start that nobody waits for any more.
struct AbortOnDrop(Option<tokio::task::AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests;
